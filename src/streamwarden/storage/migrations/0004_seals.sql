-- Footage that can be verified: docs/design/0012-verifiable-footage.md. The files below .seals are the
-- evidence; this table holds each statement a second time, and says what is sealed already.

create table seal (
    camera_id      uuid not null,
    number         bigint not null,
    hash           bytea not null,
    until          timestamptz(3) not null,
    removed_until  timestamptz(3),
    statement      text not null,
    signature      bytea not null,
    primary key (camera_id, number),
    constraint seal_number check (number >= 0),
    constraint seal_hash check (length(hash) = 32)
);

create function seal_append_only() returns trigger language plpgsql as $$
begin
    raise exception 'the chain of seals is append-only' using errcode = 'insufficient_privilege';
end $$;

create trigger seal_append_only before update or delete on seal
    for each row execute function seal_append_only();
create trigger seal_no_truncate before truncate on seal
    for each statement execute function seal_append_only();

-- Which seal speaks of it; null: none yet.
alter table segment add column seal bigint;
alter table gap add column seal bigint;

create index segment_unsealed on segment (camera_id, started_at, id)
    where seal is null and state = 'stored';
create index gap_unsealed on gap (camera_id, started_at, id)
    where seal is null and ended_at is not null;
