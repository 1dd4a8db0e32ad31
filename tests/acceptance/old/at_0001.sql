-- What version 0.1 left in its database (migration 0001): a camera that was being recorded when the
-- server was stopped. Values are named as Python's; each statement ends with its line.
insert into camera (id, name, path, owner, status, created_at)
values (%(camera_id)s, 'Door', 'old/door', %(owner)s, 'active', %(began)s);
insert into camera_grant (camera_id, user_sub, action)
values (%(camera_id)s, 'bob', 'recordings');
insert into settings (key, value)
values ('video_segment_seconds', '2');
insert into stream (camera_id, owner, path, wanted, epoch, requested_by, changed_at)
values (%(camera_id)s, %(owner)s, 'old/door', true, 1, %(owner)s, %(began)s);
insert into wanted_period (camera_id, started_at)
values (%(camera_id)s, %(began)s);
insert into segment (id, camera_id, owner, run, number, started_at, ended_at, media_ms, size_bytes, path)
values (%(id)s, %(camera_id)s, %(owner)s, 1, %(number)s, %(started_at)s, %(ended_at)s, 2000, %(size_bytes)s,
        %(path)s);
insert into gap (id, camera_id, started_at, ended_at, cause)
values (%(gap_id)s, %(camera_id)s, %(ended)s, null, 'shutdown');
