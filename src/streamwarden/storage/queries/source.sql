-- name: get
select url, sealed as encrypted, transport from camera_source where camera_id = %(camera_id)s

-- name: put
insert into camera_source (camera_id, url, sealed, transport)
values (%(camera_id)s, %(url)s, %(sealed)s, %(transport)s)
on conflict (camera_id) do update
   set url = excluded.url, sealed = excluded.sealed, transport = excluded.transport,
       changed_at = clock_timestamp()

-- name: renew
-- Only where they are still the ones that were opened: else somebody has changed them meanwhile.
update camera_source set sealed = %(after)s where camera_id = %(camera_id)s and sealed = %(before)s

-- name: hide
update camera_source set url = %(url)s, sealed = %(sealed)s
 where camera_id = %(camera_id)s and url = %(before)s

-- name: remove
delete from camera_source where camera_id = %(camera_id)s

-- name: all
select camera_id, path, status, url, sealed as encrypted, transport
  from camera_source
  join camera on camera.id = camera_id
 order by camera_id

-- name: is_at
select 1
  from camera_source
  join camera on camera.id = camera_id
 where camera_id = %(camera_id)s and path = %(path)s

-- name: paths_set
select path from pulled_path

-- name: note_path
insert into pulled_path (path) values (%(path)s) on conflict do nothing

-- name: forget_path
delete from pulled_path where path = %(path)s
