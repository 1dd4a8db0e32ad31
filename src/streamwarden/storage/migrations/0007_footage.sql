-- Where pictures are missing inside a file, as from-to in ms after its start, separated by blanks; and how
-- far its dates may be from when the pictures were taken, null where that is not known.

alter table segment
    add column holes text not null default '',
    add column error_ms integer,
    add constraint segment_holes check (holes ~ '^([0-9]+-[0-9]+( [0-9]+-[0-9]+)*)?$'),
    add constraint segment_error check (error_ms >= 0);
