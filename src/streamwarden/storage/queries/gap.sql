-- name: upsert_many
-- One batch may open a gap and close it: its first closing counts, else its last word.
insert into gap (id, camera_id, started_at, ended_at, cause, clock_set)
select distinct on (id) id, camera_id, started_at, ended_at, cause, clock_set
  from unnest(%(id)s::uuid[], %(camera_id)s::uuid[], %(started_at)s::timestamptz[],
              %(ended_at)s::timestamptz[], %(cause)s::text[], %(clock_set)s::boolean[])
       with ordinality as report (id, camera_id, started_at, ended_at, cause, clock_set, place)
 order by id, (ended_at is null), case when ended_at is null then -place else place end
on conflict (id) do update
   set ended_at = excluded.ended_at, cause = excluded.cause, clock_set = excluded.clock_set
 where gap.ended_at is null

-- name: in_range
(select id, camera_id, started_at, ended_at, cause, clock_set
   from gap
  where camera_id = %(camera_id)s
    and started_at > %(from)s::timestamptz - interval '2 hours' and started_at < %(to)s
    and (started_at, id) > (%(after_moment)s, %(after_id)s)
    and (ended_at is null or ended_at > %(from)s)
  order by started_at, id
  limit %(limit)s)
union all
(select id, camera_id, started_at, ended_at, cause, clock_set
   from gap
  where camera_id = %(camera_id)s
    and (ended_at is null or ended_at - started_at > interval '2 hours')
    and started_at <= %(from)s::timestamptz - interval '2 hours' and started_at < %(to)s
    and (started_at, id) > (%(after_moment)s, %(after_id)s)
    and (ended_at is null or ended_at > %(from)s)
  order by started_at, id
  limit %(limit)s)
order by started_at, id
limit %(limit)s

-- name: remove
delete from gap where id = %(id)s

-- name: drop_before
delete from gap where ended_at < %(moment)s
