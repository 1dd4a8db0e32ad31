-- When `deploy/backup-database` has last dumped this database. A restored database has the time of the dump
-- before its own, which is the truth: nothing since then is in any dump.
create table database_dump (
    one          boolean primary key default true,
    finished_at  timestamptz(3) not null,
    size_bytes   bigint not null,
    constraint database_dump_one check (one)
);
