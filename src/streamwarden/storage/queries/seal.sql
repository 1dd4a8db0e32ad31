-- name: head
select camera_id, number, hash, until, removed_until, statement, signature
  from seal
 where camera_id = %(camera_id)s
 order by number desc
 limit 1

-- name: insert
insert into seal (camera_id, number, hash, until, removed_until, statement, signature)
values (%(camera_id)s, %(number)s, %(hash)s, %(until)s, %(removed_until)s, %(statement)s,
        %(signature)s)
on conflict do nothing

-- name: mark_segments
update segment
   set seal = %(number)s
  from unnest(%(ids)s::uuid[], %(digests)s::bytea[]) as sealed (id, digest)
 where segment.id = sealed.id and segment.camera_id = %(camera_id)s and segment.seal is null
   and segment.digest is not distinct from sealed.digest

-- name: mark_gaps
update gap
   set seal = %(number)s
 where id = any(%(ids)s::uuid[]) and camera_id = %(camera_id)s and seal is null

-- name: unsealed_segments
select id, camera_id, owner, run, number, started_at, ended_at, media_ms, size_bytes, path,
       salvaged, digest, init_bytes, holes, error_ms
  from segment
 where camera_id = %(camera_id)s and seal is null and state = 'stored'
   and started_at < %(before)s
 order by started_at, id
 limit %(limit)s

-- name: unsealed_gaps
select id, camera_id, started_at, ended_at, cause
  from gap
 where camera_id = %(camera_id)s and seal is null and ended_at is not null
   and started_at < %(before)s
 order by started_at, id
 limit %(limit)s

-- name: cameras
-- A loose index scan over each of the two: one step a camera.
with recursive of_segments as (
    (select camera_id from segment where seal is null and state = 'stored'
      order by camera_id limit 1)
    union all
    select (select segment.camera_id from segment
             where seal is null and state = 'stored' and segment.camera_id > of_segments.camera_id
             order by segment.camera_id limit 1)
      from of_segments
     where of_segments.camera_id is not null
), of_gaps as (
    (select camera_id from gap where seal is null and ended_at is not null
      order by camera_id limit 1)
    union all
    select (select gap.camera_id from gap
             where seal is null and ended_at is not null and gap.camera_id > of_gaps.camera_id
             order by gap.camera_id limit 1)
      from of_gaps
     where of_gaps.camera_id is not null
)
select camera_id from of_segments where camera_id is not null
union
select camera_id from of_gaps where camera_id is not null

-- name: numbers_of
select distinct seal from segment
 where camera_id = %(camera_id)s and id = any(%(ids)s::uuid[]) and seal is not null
 order by seal

-- name: some
select camera_id, number, hash, until, removed_until, statement, signature
  from seal
 where camera_id = %(camera_id)s and number = any(%(numbers)s::bigint[])
 order by number
