-- name: actions
select action
  from camera_grant
 where camera_id = %(camera_id)s and user_sub = %(user_sub)s

-- name: put
insert into camera_grant (camera_id, user_sub, action)
values (%(camera_id)s, %(user_sub)s, %(action)s)
on conflict do nothing

-- name: remove
delete from camera_grant
 where camera_id = %(camera_id)s and user_sub = %(user_sub)s and action = %(action)s
