-- name: finished_at
select extract(epoch from finished_at)::float8 from database_dump
