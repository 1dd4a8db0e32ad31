-- name: put
-- A second denial of the same tokens moves its moment forward, never back.
insert into denial (use, path, sub, issued_before, kicked_before, reason, expires_at)
select *
  from unnest(%(use)s::text[], %(path)s::text[], %(sub)s::text[], %(issued_before)s::timestamptz[],
              %(kicked_before)s::timestamptz[], %(reason)s::text[], %(expires_at)s::timestamptz[])
on conflict (use, path, sub) do update
   set issued_before = greatest(denial.issued_before, excluded.issued_before),
       kicked_before = greatest(denial.kicked_before, excluded.kicked_before),
       reason = case when excluded.issued_before >= denial.issued_before
                     then excluded.reason else denial.reason end,
       expires_at = greatest(denial.expires_at, excluded.expires_at),
       changed_at = clock_timestamp()

-- name: page
select use, path, sub, issued_before, kicked_before, reason, expires_at
  from denial
 where (use, path, sub) > (%(use)s, %(path)s, %(sub)s)
 order by use, path, sub
 limit %(limit)s

-- name: path_known
select 1 from denial where use = 'publish' and path = %(path)s limit 1

-- name: fingerprint
-- Differs whenever a row was added, changed or removed, in whatever order that was committed.
select count(*)::text || ':' || coalesce(sum(hashtextextended(changed_at::text, 0)), 0)::text
  from denial

-- name: drop_expired
delete from denial where expires_at < %(now)s

-- name: block
insert into blocked_user (user_sub, blocked_by, blocked_at, note)
values (%(user_sub)s, %(blocked_by)s, %(blocked_at)s, %(note)s)
on conflict (user_sub) do nothing

-- name: unblock
delete from blocked_user where user_sub = %(user_sub)s

-- name: blocked
select user_sub, blocked_by, blocked_at, note from blocked_user order by user_sub
