-- name: insert_many
insert into audit (id, at, who, action, camera_id, outcome, subject, address, request_id, detail)
select id, at, who, action, camera_id, outcome, subject, address, request_id, detail::jsonb
  from unnest(%(id)s::uuid[], %(at)s::timestamptz[], %(who)s::text[], %(action)s::text[],
              %(camera_id)s::uuid[], %(outcome)s::text[], %(subject)s::text[],
              %(address)s::text[], %(request_id)s::text[], %(detail)s::text[])
       as event (id, at, who, action, camera_id, outcome, subject, address, request_id, detail)
on conflict (id) do nothing

-- name: page
select id, at, who, action, camera_id, outcome, subject, address, request_id, detail::text as detail
  from audit
 where at >= %(from)s and at < %(to)s
   and (at, id) < (%(before_moment)s, %(before_id)s)
   and (%(camera_id)s::uuid is null or camera_id = %(camera_id)s)
   and (%(user)s::text is null or who = %(user)s or subject = %(user)s)
 order by at desc, id desc
 limit %(limit)s

-- name: prune
select audit_prune(%(before)s)
