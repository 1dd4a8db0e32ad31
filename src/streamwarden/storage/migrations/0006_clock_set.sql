-- A gap over which the clock was set back: it may also be recorded, under the former time.
alter table gap add column clock_set boolean not null default false;
