-- name: get
select value from settings where key = %(key)s

-- name: put
insert into settings (key, value)
values (%(key)s, %(value)s)
on conflict (key) do update set value = excluded.value
