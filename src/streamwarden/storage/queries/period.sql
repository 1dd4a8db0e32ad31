-- name: in_range
select camera_id, started_at, ended_at
  from wanted_period
 where camera_id = %(camera_id)s
   and started_at < %(to)s
   and (ended_at is null or ended_at > %(from)s)
 order by started_at, id

-- name: camera_ids
select distinct camera_id from wanted_period order by camera_id

-- name: drop_before
delete from wanted_period where ended_at < %(moment)s

-- name: begin_all_at
update wanted_period
   set started_at = %(moment)s
 where started_at < %(moment)s and (ended_at is null or ended_at > %(moment)s)

-- name: drop_until
delete from wanted_period where camera_id = %(camera_id)s and ended_at <= %(until)s

-- name: begin_at
update wanted_period
   set started_at = %(until)s
 where camera_id = %(camera_id)s
   and started_at < %(until)s
   and (ended_at is null or ended_at > %(until)s)
