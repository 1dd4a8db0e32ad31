-- name: get
select id, node, path, adopted_at from record_root

-- name: adopt
insert into record_root (id, node, path, adopted_at)
values (%(id)s, %(node)s, %(path)s, %(adopted_at)s)
on conflict (one) do update
   set id = excluded.id, node = excluded.node, path = excluded.path,
       adopted_at = excluded.adopted_at

-- name: register
-- As adopt, but never over another id: two that start at once do not take each other's place.
insert into record_root (id, node, path, adopted_at)
values (%(id)s, %(node)s, %(path)s, %(adopted_at)s)
on conflict (one) do nothing

-- name: has_segments
select exists (select from segment)

-- name: has_cameras
select exists (select from camera)

-- name: newest_files
select path, size_bytes
  from segment
 where state = 'stored'
 order by ended_at desc, id desc
 limit %(limit)s

-- name: lease
select session, root_id, node, path, place,
       extract(epoch from clock_timestamp() - seen_at)::double precision as age_s
  from streaming_lease

-- name: take_lease
insert into streaming_lease (session, root_id, node, path, place)
values (%(session)s, %(root_id)s, %(node)s, %(path)s, %(place)s)
on conflict (one) do update
   set session = excluded.session, root_id = excluded.root_id, node = excluded.node,
       path = excluded.path, place = excluded.place,
       started_at = clock_timestamp(), seen_at = clock_timestamp()
 where streaming_lease.session = %(over)s

-- name: renew_lease
update streaming_lease set seen_at = clock_timestamp() where session = %(session)s

-- name: drop_lease
delete from streaming_lease where session = %(session)s
