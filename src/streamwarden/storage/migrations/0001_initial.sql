-- Everything that streamwarden keeps. Times are wall clock, UTC, to the millisecond.

create table camera (
    id          uuid primary key,
    name        text not null,
    path        text not null,
    owner       text not null,
    status      text not null,
    created_at  timestamptz(3) not null,
    constraint camera_path_taken unique (path),
    constraint camera_status check (status in ('active', 'inactive'))
);

-- A page of cameras: everybody's for an administrator, one's own for the others.
create index camera_by_age on camera (created_at, id);
create index camera_by_owner on camera (owner, created_at, id);

create table camera_grant (
    camera_id  uuid not null references camera (id) on delete cascade,
    user_sub   text not null,
    action     text not null,
    primary key (camera_id, user_sub, action),
    constraint camera_grant_action check (action in ('view', 'recordings', 'control', 'publish'))
);

create index camera_grant_by_user on camera_grant (user_sub, camera_id);

create table settings (
    key    text primary key,
    value  jsonb not null
);

-- What is wanted now. No foreign key here or below: recordings, and what is known of them, outlive
-- their camera.
create table stream (
    camera_id     uuid primary key,
    owner         text not null,
    path          text not null,
    wanted        boolean not null,
    epoch         bigint not null,
    requested_by  text not null,
    changed_at    timestamptz(3) not null,
    node          text,
    constraint stream_epoch check (epoch > 0)
);

-- What was wanted when: segments and gaps together must cover it.
create table wanted_period (
    id          bigint generated always as identity primary key,
    camera_id   uuid not null,
    started_at  timestamptz(3) not null,
    ended_at    timestamptz(3),
    constraint wanted_period_order check (ended_at >= started_at)
);

create unique index wanted_period_open on wanted_period (camera_id) where ended_at is null;
create index wanted_period_by_time on wanted_period (camera_id, started_at);

-- A stored row means that the file is whole and on disk; a deleting one that it may be gone already.
create table segment (
    id          uuid primary key,
    camera_id   uuid not null,
    owner       text not null,
    run         integer not null,
    number      integer not null,
    started_at  timestamptz(3) not null,
    ended_at    timestamptz(3) not null,
    media_ms    integer not null,
    size_bytes  bigint not null,
    path        text not null,
    salvaged    boolean not null default false,
    digest      bytea,
    -- How many of the file's first bytes are its header (ftyp and moov); 0 where that is not known.
    init_bytes  integer not null default 0,
    state       text not null default 'stored',
    constraint segment_once unique (camera_id, run, number),
    constraint segment_order check (ended_at >= started_at),
    constraint segment_media check (media_ms >= 0),
    constraint segment_size check (size_bytes >= 0),
    constraint segment_init check (init_bytes >= 0),
    constraint segment_state check (state in ('stored', 'deleting'))
);

-- The list of one camera, in time order. The end is a key so that what ended before a range is passed
-- over within the index.
create index segment_by_start on segment (camera_id, started_at, id, ended_at)
    where state = 'stored';
-- The list looks back two hours for what reaches into a range; the few that are longer (the clock was
-- set forward while they were written) are found here.
create index segment_long on segment (camera_id, started_at, id, ended_at)
    where state = 'stored' and ended_at - started_at > interval '2 hours';
-- One camera's newest, and its oldest for its quota.
create index segment_by_end on segment (camera_id, ended_at);
-- The oldest over all cameras, for retention.
create index segment_oldest on segment (ended_at, id) where state = 'stored';
-- Deletions to resume.
create index segment_deleting on segment (ended_at, id) where state = 'deleting';

-- Cameras that were removed with all their recordings: what comes late is deleted as well.
create table given_up (
    camera_id  uuid primary key
);

create table gap (
    id          uuid primary key,
    camera_id   uuid not null,
    started_at  timestamptz(3) not null,
    ended_at    timestamptz(3),
    cause       text not null,
    constraint gap_order check (ended_at >= started_at)
);

create index gap_by_start on gap (camera_id, started_at, id);
create index gap_long on gap (camera_id, started_at, id)
    where ended_at is null or ended_at - started_at > interval '2 hours';
create index gap_open on gap (camera_id) where ended_at is null;
create index gap_by_end on gap (ended_at);
