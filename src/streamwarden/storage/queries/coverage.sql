-- name: recorded
-- By the index over ends; a year's rows before it are not touched.
-- Few segments have holes; the one that reaches over the beginning counts them from there on.
select coalesce(sum(extract(epoch from ended_at - greatest(started_at, %(since)s))
                    - case when holes = '' then 0 else
                      (select coalesce(sum(greatest(0, extract(epoch from
                                  started_at + split_part(hole, '-', 2)::int * interval '1 millisecond'
                                  - greatest(started_at + split_part(hole, '-', 1)::int
                                                        * interval '1 millisecond', %(since)s)))), 0)
                         from unnest(string_to_array(holes, ' ')) as hole)
                      end), 0)::float8
           as seconds,
       coalesce(sum(size_bytes), 0)::bigint as size_bytes
  from segment
 where state = 'stored' and ended_at > %(since)s

-- name: missing
-- The seconds of a clock that was set are not lost: they never existed, or are recorded under other dates.
select cause, sum(extract(epoch from until - greatest(started_at, %(since)s)))::float8 as seconds
  from (select cause, started_at, least(ended_at, %(now)s) as until
          from gap where ended_at > %(since)s
        union all
        select cause, started_at, %(now)s as until from gap where ended_at is null) as recent
 where until > greatest(started_at, %(since)s) and cause <> 'clock_step'
 group by cause
 order by seconds desc, cause

-- name: oldest
select ended_at from segment where state = 'stored' order by ended_at, id limit 1

-- name: cameras
select status, count(*) as cameras from camera group by status
