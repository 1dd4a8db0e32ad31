-- name: insert_many
-- What a camera's recorder stored after its recordings were given up goes the same way.
insert into segment (id, camera_id, owner, run, number, started_at, ended_at,
                     media_ms, size_bytes, path, salvaged, digest, init_bytes,
                     holes, error_ms, state)
select stored.*,
       case when given_up.camera_id is null then 'stored' else 'deleting' end
  from unnest(%(id)s::uuid[], %(camera_id)s::uuid[], %(owner)s::text[], %(run)s::integer[],
                     %(number)s::integer[], %(started_at)s::timestamptz[], %(ended_at)s::timestamptz[],
                     %(media_ms)s::integer[], %(size_bytes)s::bigint[], %(path)s::text[],
                     %(salvaged)s::boolean[], %(digest)s::bytea[],
                     %(init_bytes)s::integer[], %(holes)s::text[],
                     %(error_ms)s::integer[])
       as stored (id, camera_id, owner, run, number, started_at, ended_at,
                  media_ms, size_bytes, path, salvaged, digest, init_bytes, holes, error_ms)
  left join given_up on given_up.camera_id = stored.camera_id
on conflict do nothing

-- name: last_run
select coalesce(max(run), 0) from segment where camera_id = %(camera_id)s

-- name: taken
-- Rows that `insert_many` has left out although they are not there: another file has their place.
select stored.id
  from unnest(%(id)s::uuid[], %(camera_id)s::uuid[], %(run)s::integer[], %(number)s::integer[],
              %(path)s::text[]) as stored (id, camera_id, run, number, path)
  join segment on segment.camera_id = stored.camera_id
              and segment.run = stored.run and segment.number = stored.number
 where segment.path <> stored.path

-- name: get
select id, camera_id, owner, run, number, started_at, ended_at, media_ms, size_bytes, path,
       salvaged, digest, init_bytes, holes, error_ms
  from segment
 where id = %(id)s and camera_id = %(camera_id)s and state = 'stored'

-- name: latest
select id, camera_id, owner, run, number, started_at, ended_at, media_ms, size_bytes, path,
       salvaged, digest, init_bytes, holes, error_ms
  from segment
 where camera_id = %(camera_id)s and state = 'stored'
 order by ended_at desc
 limit 1

-- name: in_range
-- Two ways into one range: what is short begins at most two hours before it, and the few that are
-- longer have an index of their own.
(select id, camera_id, owner, run, number, started_at, ended_at, media_ms, size_bytes, path,
        salvaged, digest, init_bytes, holes, error_ms
   from segment
  where camera_id = %(camera_id)s and state = 'stored'
    and started_at > %(from)s::timestamptz - interval '2 hours' and started_at < %(to)s
    and (started_at, id) > (%(after_moment)s, %(after_id)s)
    and ended_at > %(from)s
  order by started_at, id
  limit %(limit)s)
union all
(select id, camera_id, owner, run, number, started_at, ended_at, media_ms, size_bytes, path,
        salvaged, digest, init_bytes, holes, error_ms
   from segment
  where camera_id = %(camera_id)s and state = 'stored'
    and ended_at - started_at > interval '2 hours'
    and started_at <= %(from)s::timestamptz - interval '2 hours' and started_at < %(to)s
    and (started_at, id) > (%(after_moment)s, %(after_id)s)
    and ended_at > %(from)s
  order by started_at, id
  limit %(limit)s)
order by started_at, id
limit %(limit)s

-- name: oldest
select id, camera_id, owner, run, number, started_at, ended_at, media_ms, size_bytes, path,
       salvaged, digest, init_bytes, holes, error_ms
  from segment
 where state = 'stored' and ended_at >= %(ended_from)s and ended_at < %(ended_before)s
 order by ended_at, id
 limit %(limit)s

-- name: oldest_of_camera
select id, camera_id, owner, run, number, started_at, ended_at, media_ms, size_bytes, path,
       salvaged, digest, init_bytes, holes, error_ms
  from segment
 where camera_id = %(camera_id)s and state = 'stored'
   and ended_at >= %(ended_from)s and ended_at < %(ended_before)s
 order by ended_at
 limit %(limit)s

-- name: count
select count(*) as segments, coalesce(sum(size_bytes), 0)::bigint as size_bytes,
       min(started_at) as started_at, max(ended_at) as ended_at
  from segment
 where state = 'stored' and ended_at >= %(ended_from)s and ended_at < %(ended_before)s

-- name: over_quota
select count(*) as segments, coalesce(sum(size_bytes), 0)::bigint as size_bytes,
       min(started_at) as started_at, max(ended_at) as ended_at
  from (select started_at, ended_at, size_bytes,
               sum(size_bytes) over (partition by share order by ended_at, id) - size_bytes as before,
               sum(size_bytes) over (partition by share) - %(quota)s as excess
          from (select id, started_at, ended_at, size_bytes,
                       case when %(each_camera)s then camera_id end as share
                  from segment
                 where state = 'stored') as stored) as summed
 where before < excess

-- name: usage
select camera_id, count(*) as segments, sum(size_bytes)::bigint as size_bytes
  from segment
 where state = 'stored'
 group by camera_id
 order by camera_id

-- name: camera_ids
-- A loose index scan: one step a camera, however many rows each has.
with recursive step as (
    (select camera_id from segment order by camera_id limit 1)
    union all
    select (select segment.camera_id from segment
             where segment.camera_id > step.camera_id
             order by segment.camera_id limit 1)
      from step
     where step.camera_id is not null
)
select camera_id from step where camera_id is not null

-- name: mark_deleting
update segment
   set state = 'deleting'
 where id = any(%(ids)s::uuid[]) and state = 'stored'

-- name: give_up
insert into given_up (camera_id) values (%(camera_id)s) on conflict do nothing

-- name: mark_camera_deleting
update segment
   set state = 'deleting'
 where id in (select id from segment
               where camera_id = %(camera_id)s and state = 'stored'
               order by started_at, id
               limit %(limit)s)
   and state = 'stored'

-- name: deleting
select id, camera_id, owner, run, number, started_at, ended_at, media_ms, size_bytes, path,
       salvaged, digest, init_bytes, holes, error_ms
  from segment
 where state = 'deleting'
 order by ended_at, id
 limit %(limit)s

-- name: deleting_of_camera
select id, camera_id, owner, run, number, started_at, ended_at, media_ms, size_bytes, path,
       salvaged, digest, init_bytes, holes, error_ms
  from segment
 where camera_id = %(camera_id)s and state = 'deleting'
 order by ended_at, id

-- name: delete
delete from segment where id = any(%(ids)s::uuid[]) and state = 'deleting'

-- name: set_holes
update segment set holes = %(holes)s where id = %(id)s and state = 'stored'
