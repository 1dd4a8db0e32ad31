-- name: limit_lock_wait
-- How long to wait for another process that is migrating, or for a table in use.
set local lock_timeout = '60s'

-- name: no_time_limit
set local statement_timeout = 0

-- name: lock
-- Held by the transaction: it is gone with the process that held it, however that ended.
select pg_advisory_xact_lock(hashtextextended('streamwarden schema_migration', 0))

-- name: create_history
create table if not exists schema_migration (
    version     integer primary key,
    name        text not null,
    checksum    text not null,
    applied_at  timestamptz(3) not null default now()
)

-- name: has_history
select to_regclass('schema_migration') is not null

-- name: history
select version, name, checksum from schema_migration order by version

-- name: record
insert into schema_migration (version, name, checksum)
values (%(version)s, %(name)s, %(checksum)s)
