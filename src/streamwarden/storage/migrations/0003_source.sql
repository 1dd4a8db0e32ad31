-- Cameras that are pulled: docs/design/0011-cameras-that-are-pulled.md.

-- Where a camera serves its stream. The credentials are sealed by the API role, for this camera alone.
create table camera_source (
    camera_id   uuid primary key references camera (id) on delete cascade,
    url         text not null,
    sealed      bytea,
    changed_at  timestamptz(3) not null default clock_timestamp(),
    constraint camera_source_url check (url ~ '^rtsps?://[^@]+$')
);

-- Paths that we have set at the media server. Written before it is told, deleted after it has
-- forgotten: no other path of it is ever deleted there.
create table pulled_path (
    path    text primary key,
    set_at  timestamptz(3) not null default clock_timestamp()
);
