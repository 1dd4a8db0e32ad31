-- name: lock
-- One change of a camera's desired state at a time, also of the first one, which has no row to lock.
select pg_advisory_xact_lock(hashtextextended('stream ' || %(camera_id)s::text, 0))

-- name: get
select camera_id, owner, path, wanted, epoch, requested_by, changed_at, node
  from stream
 where camera_id = %(camera_id)s

-- name: all
select camera_id, owner, path, wanted, epoch, requested_by, changed_at, node
  from stream
 order by camera_id

-- name: want
insert into stream (camera_id, owner, path, wanted, epoch, requested_by, changed_at)
values (%(camera_id)s, %(owner)s, %(path)s, true, 1, %(requested_by)s, %(at)s)
on conflict (camera_id) do update
   set owner = excluded.owner,
       path = excluded.path,
       wanted = true,
       epoch = stream.epoch + 1,
       requested_by = excluded.requested_by,
       changed_at = excluded.changed_at
returning camera_id, owner, path, wanted, epoch, requested_by, changed_at, node

-- name: unwant
update stream
   set wanted = false, epoch = epoch + 1, requested_by = %(requested_by)s, changed_at = %(at)s
 where camera_id = %(camera_id)s and wanted
returning camera_id, owner, path, wanted, epoch, requested_by, changed_at, node

-- name: put_back
update stream
   set owner = %(owner)s,
       path = %(path)s,
       wanted = %(wanted)s,
       epoch = epoch + 1,
       requested_by = %(requested_by)s,
       changed_at = %(changed_at)s
 where camera_id = %(camera_id)s and epoch = %(epoch)s

-- name: claim
update stream
   set node = %(node)s
 where camera_id = %(camera_id)s and wanted

-- name: open_period
insert into wanted_period (camera_id, started_at)
values (%(camera_id)s, %(at)s)
on conflict (camera_id) where ended_at is null do nothing

-- name: close_period
-- Never before its start: the wall clock may have been set back in between.
update wanted_period
   set ended_at = greatest(started_at, %(at)s)
 where camera_id = %(camera_id)s and ended_at is null

-- name: undo_period
delete from wanted_period where camera_id = %(camera_id)s and ended_at is null
