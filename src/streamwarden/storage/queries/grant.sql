-- name: of_user
select user_sub, action, from_at as from_, until_at as until
  from camera_grant
 where camera_id = %(camera_id)s and user_sub = %(user_sub)s
 order by action

-- name: of_camera
select user_sub, action, from_at as from_, until_at as until
  from camera_grant
 where camera_id = %(camera_id)s
 order by user_sub, action
 limit %(limit)s

-- name: put
insert into camera_grant (camera_id, user_sub, action, from_at, until_at)
values (%(camera_id)s, %(user_sub)s, %(action)s, %(from_)s, %(until)s)
on conflict (camera_id, user_sub, action) do update
   set from_at = excluded.from_at, until_at = excluded.until_at

-- name: remove
delete from camera_grant
 where camera_id = %(camera_id)s and user_sub = %(user_sub)s and action = %(action)s

-- name: remove_all
delete from camera_grant where camera_id = %(camera_id)s and user_sub = %(user_sub)s
