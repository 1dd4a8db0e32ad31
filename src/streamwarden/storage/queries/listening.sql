-- name: denials
listen streamwarden_denials

-- name: check
select 1
