-- Who may look, what was revoked, and what was done: docs/design/0009-revocation.md.

-- A grant of recordings may be limited to what was recorded within a window.
alter table camera_grant
    add column from_at timestamptz(3),
    add column until_at timestamptz(3),
    add constraint camera_grant_window
        check (action = 'recordings' or (from_at is null and until_at is null)),
    add constraint camera_grant_order check (from_at < until_at);

-- Tokens for this use, on this path ('' for any), of this user ('' for anyone) count for nothing if
-- they were issued at issued_before or earlier; a session opened with one at kicked_before or
-- earlier is ended. A row goes when no token that it covers can live any more.
create table denial (
    use            text not null,
    path           text not null,
    sub            text not null,
    issued_before  timestamptz(3) not null,
    kicked_before  timestamptz(3),
    reason         text not null,
    expires_at     timestamptz(3) not null,
    changed_at     timestamptz not null default clock_timestamp(),
    primary key (use, path, sub),
    constraint denial_use check (use in ('record', 'view', 'publish', 'live', 'recordings')),
    constraint denial_covers check (path <> '' or sub <> '')
);

create index denial_by_end on denial (expires_at);

create table blocked_user (
    user_sub    text primary key,
    blocked_by  text not null,
    blocked_at  timestamptz(3) not null,
    note        text not null default ''
);

-- Every API process holds both tables in memory; what changes is sent to it whole.
create function denial_changed() returns trigger language plpgsql as $$
begin
    perform pg_notify('streamwarden_denials', json_build_object(
        'use', new.use, 'path', new.path, 'sub', new.sub, 'issued_before', new.issued_before,
        'kicked_before', new.kicked_before, 'reason', new.reason, 'expires_at', new.expires_at
    )::text);
    return null;
end $$;

create trigger denial_changed after insert or update on denial
    for each row execute function denial_changed();

create function blocked_user_changed() returns trigger language plpgsql as $$
begin
    perform pg_notify('streamwarden_denials', json_build_object(
        'user', coalesce(new.user_sub, old.user_sub), 'blocked', tg_op <> 'DELETE'
    )::text);
    return null;
end $$;

create trigger blocked_user_changed after insert or update or delete on blocked_user
    for each row execute function blocked_user_changed();

-- What was done by whom. Nothing is ever changed here, and nothing deleted but by audit_prune.
create table audit (
    id          uuid primary key,
    at          timestamptz(3) not null,
    who         text not null,
    action      text not null,
    camera_id   uuid,
    outcome     text not null,
    subject     text,
    address     text not null,
    request_id  text,
    detail      jsonb not null default '{}'
);

create index audit_by_time on audit (at, id);
create index audit_by_camera on audit (camera_id, at, id);
create index audit_by_who on audit (who, at, id);
create index audit_by_subject on audit (subject, at, id) where subject is not null;

create function audit_append_only() returns trigger language plpgsql as $$
begin
    -- audit_prune says so for its own statement, and never of a row that is younger than a day.
    if tg_op = 'DELETE' and current_setting('streamwarden.audit_prune', true) = 'on'
        and old.at < clock_timestamp() - interval '1 day'
    then
        return old;
    end if;
    raise exception 'the audit trail is append-only' using errcode = 'insufficient_privilege';
end $$;

create trigger audit_append_only before update or delete on audit
    for each row execute function audit_append_only();
create trigger audit_no_truncate before truncate on audit
    for each statement execute function audit_append_only();

-- Deletes what is older than before, some thousand rows at most; returns how many.
create function audit_prune(before timestamptz) returns bigint language plpgsql as $$
declare
    pruned bigint;
begin
    perform set_config('streamwarden.audit_prune', 'on', true);
    delete from audit
     where id in (select id from audit
                   where at < least(before, clock_timestamp() - interval '1 day')
                   order by at limit 5000);
    get diagnostics pruned = row_count;
    perform set_config('streamwarden.audit_prune', '', true);
    return pruned;
end $$;
