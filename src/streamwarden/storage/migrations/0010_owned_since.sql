-- Since when a camera has its present owner; null where it never had another one. What was recorded before
-- was recorded in somebody else's home: docs/design/0009-revocation.md, A change of the owner.
alter table camera add column owned_since timestamptz(3);
