-- How the media server receives a pulled camera's media: docs/design/0011-cameras-that-are-pulled.md.
alter table camera_source
    add column transport text not null default 'automatic',
    add constraint camera_source_transport check (transport in ('automatic', 'tcp', 'udp', 'multicast'));
