"""The floor's SQL: every write of a completion in one statement, over the version that this worker wrote itself.

Such a statement divides by zero where the run's row matched and another part did not: otherwise a data-modifying CTE would
leave a version without its history, or a step without its run. It answers 0 where another writer came between.
"""

from __future__ import annotations

START = """
insert into floor_run (id, organization, workflow, status, version, open_steps, input, ring_at)
values (%(run)s, 'default', %(workflow)s, 'pending', 0, 0, %(input)s, clock_timestamp() + interval '5 seconds')
"""

LOOK = "select workflow, input from floor_run where id = %(run)s and version = 0"

_BORN = """
insert into floor_step (id, run, name, status, attempt, token, claimed_by, input, claimed_at)
select %(next_id)s, %(run)s, %(next)s, 'running', 1, %(next_token)s, %(worker)s, %(given)s, clock_timestamp() from {source} returning 1
"""

_ENDED = """
update floor_step set status = 'succeeded', output = %(output)s, ended_at = clock_timestamp(), ring_at = null
where id = %(id)s and token = %(token)s and status = 'running' and exists (select from r) returning 1
"""

_TOLD = "insert into floor_history (run, version, facts) select %(run)s, r.version, %(facts)s from {source} returning 1"

BEGIN = f"""
with r as (update floor_run set version = 1, status = 'running', open_steps = 1, started_at = clock_timestamp(), ring_at = null
           where id = %(run)s and version = 0 returning version),
 n as ({_BORN.format(source="r")}), h as ({_TOLD.format(source="r")})
select case when exists (select from r) then 1 / ((select count(*) from n) * (select count(*) from h)) else 0 end
"""

END_AND_KEEP = f"""
with r as (update floor_run set version = version + 1 where id = %(run)s and version = %(version)s returning version),
 s as ({_ENDED}), n as ({_BORN.format(source="s")}), h as ({_TOLD.format(source="r, s")})
select case when exists (select from r) then 1 / ((select count(*) from n) * (select count(*) from h)) else 0 end,
 exists (select from floor_inbox where run = %(run)s)
"""

END_RUN = f"""
with r as (update floor_run set version = version + 1, status = 'succeeded', output = %(output)s, open_steps = 0,
            ended_at = clock_timestamp()
           where id = %(run)s and version = %(version)s returning version),
 s as ({_ENDED}), h as ({_TOLD.format(source="r, s")})
select case when exists (select from r) then 1 / ((select count(*) from s) * (select count(*) from h)) else 0 end,
 exists (select from floor_inbox where run = %(run)s)
"""

# The fan-out's own step, its items with their inputs, and the end of the step before it: one commit, however many items.
FAN_OUT = f"""
with r as (update floor_run set version = version + 1 where id = %(run)s and version = %(version)s returning version),
 s as ({_ENDED}), h as ({_TOLD.format(source="r, s")}),
 w as (insert into floor_step (id, run, name, status, attempt, items_left)
       select %(next_id)s, %(run)s, %(next)s, 'waiting', 1, %(width)s from s returning 1),
 i as (insert into floor_step (id, run, fan_out, name, item, status, attempt, due_at, input)
       select v.id, %(run)s, %(next_id)s, %(next)s, v.place - 1, 'ready', 0, clock_timestamp(), v.given
       from s, unnest(%(ids)s::uuid[], %(values)s::text[]) with ordinality v(id, given, place) returning 1)
select case when exists (select from r) then 1 / ((select count(*) from w) * (select count(*) from h)) else 0 end,
 (select count(*) from i)
"""

CLAIM_ITEMS = """
update floor_step set status = 'running', attempt = attempt + 1, token = %(token)s, claimed_by = %(worker)s, claimed_at = clock_timestamp()
where status = 'ready' and id = any (array (
  select id from floor_step where fan_out = %(each)s and status = 'ready' and due_at <= clock_timestamp()
  order by due_at, item limit %(most)s for update skip locked))
returning id, item, input
"""

END_ITEMS = """
with s as (update floor_step set status = 'succeeded', output = v.output, ended_at = clock_timestamp()
           from unnest(%(ids)s::uuid[], %(outputs)s::text[]) v(id, output)
           where floor_step.id = v.id and token = %(token)s and status = 'running' returning item),
 r as (update floor_run set version = version + 1 where id = %(run)s and status = 'running' returning version),
 h as (insert into floor_history (run, version, facts) select %(run)s, r.version, (select json_agg(item)::text from s) from r)
update floor_step set items_left = items_left - (select count(*) from s), ring_at = clock_timestamp() + interval '5 seconds'
where id = %(each)s returning items_left, (select version from r)
"""

RESULTS = "select output from floor_step where fan_out = %(each)s order by item"

JOIN = f"""
with r as (update floor_run set version = version + 1 where id = %(run)s and version = %(version)s returning version),
 s as (update floor_step set status = 'succeeded', ended_at = clock_timestamp(), ring_at = null
       where id = %(each)s and status = 'waiting' and exists (select from r) returning 1),
 n as ({_BORN.format(source="s")}), h as ({_TOLD.format(source="r, s")})
select case when exists (select from r) then 1 / ((select count(*) from n) * (select count(*) from h)) else 0 end
"""

OUTCOME = "select output from floor_run where id = %(run)s and status = 'succeeded'"
