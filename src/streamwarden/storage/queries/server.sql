-- name: clock
select clock_timestamp()

-- name: session
select pg_backend_pid(), current_setting('TimeZone')

-- name: use_utc
-- PgBouncer keeps it for its client, whichever session it lends.
set time zone 'UTC'

-- name: read_only
show transaction_read_only

-- name: limit_statement
select set_config('statement_timeout', %(limit)s, true)
