-- name: get
select id, name, path, owner, status, created_at, owned_since, url as source_url,
       sealed is not null as source_credentials, transport as source_transport
  from camera
  left join camera_source on camera_id = id
 where id = %(id)s

-- name: at_path
select id from camera where path = %(path)s

-- name: add
insert into camera (id, name, path, owner, status, created_at)
values (%(id)s, %(name)s, %(path)s, %(owner)s, %(status)s, %(created_at)s)
returning id, name, path, owner, status, created_at

-- name: update
-- The desired state follows its camera: a wanted stream is pulled from where the camera publishes now. With its
-- owner a camera loses the grants that the former owner gave.
with before as (
    select id, owner from camera where id = %(id)s
), changed as (
    update camera
       set name = coalesce(%(name)s, name),
           path = coalesce(%(path)s, path),
           owner = coalesce(%(owner)s, owner),
           owned_since = case when owner is distinct from coalesce(%(owner)s, owner)
                              then %(owned_since)s else owned_since end,
           status = coalesce(%(status)s, status)
     where id = %(id)s
    returning id, name, path, owner, status, created_at
), followed as (
    update stream
       set owner = changed.owner, path = changed.path, epoch = stream.epoch + 1
      from changed
     where stream.camera_id = changed.id
       and (stream.owner, stream.path) is distinct from (changed.owner, changed.path)
), ended as (
    delete from camera_grant
     using before, changed
     where camera_grant.camera_id = changed.id
       and before.id = changed.id
       and before.owner is distinct from changed.owner
)
select id, name, path, owner, status, created_at from changed

-- name: remove
delete from camera where id = %(id)s

-- name: list_all
select id, name, path, owner, status, created_at, owned_since, url as source_url,
       sealed is not null as source_credentials, transport as source_transport
  from camera
  left join camera_source on camera_id = id
 where (created_at, id) > (%(after_moment)s, %(after_id)s)
 order by created_at, id
 limit %(limit)s

-- name: list_visible
select id, name, path, owner, status, created_at, owned_since, url as source_url,
       sealed is not null as source_credentials, transport as source_transport
  from camera
  left join camera_source on camera_id = id
 where (created_at, id) > (%(after_moment)s, %(after_id)s)
   and (owner = %(user_sub)s
        or id in (select g.camera_id from camera_grant g where g.user_sub = %(user_sub)s))
 order by created_at, id
 limit %(limit)s

-- name: all_active
select id, name, path, owner, status, created_at, owned_since, url as source_url,
       sealed is not null as source_credentials, transport as source_transport
  from camera
  left join camera_source on camera_id = id
 where status = 'active'
 order by created_at, id

-- name: existing
select id from camera where id = any(%(ids)s)
