-- The record root that the index and the ledger speak of: the same id is in its marker file.
create table record_root (
    one         boolean primary key default true,
    id          uuid not null,
    node        text not null,
    path        text not null,
    adopted_at  timestamptz(3) not null,
    constraint record_root_one check (one)
);

-- The streaming role that writes the index and the ledger now. It renews seen_at; times are Postgres'
-- own, so that clocks of several machines do not matter.
create table streaming_lease (
    one         boolean primary key default true,
    session     uuid not null,
    root_id     uuid not null,
    node        text not null,
    path        text not null,
    -- Kernel and lock file of the holder: whoever holds the same lock has outlived it.
    place       text not null,
    started_at  timestamptz(3) not null default now(),
    seen_at     timestamptz(3) not null default now(),
    constraint streaming_lease_one check (one)
);
