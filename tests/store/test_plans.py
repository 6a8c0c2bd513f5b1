"""How PostgreSQL finds the rows of our statements while it knows nothing of them: on a fleet's first day, and after a restore."""

from __future__ import annotations

import importlib
import pkgutil
import re

import psycopg

from wfcelery import store
from wfcelery.store import migrations
from wfcelery.store.database import Database
from wfcelery.store.lines import PLANNING
from wfcelery.store.statements import Statement

# What a message, a start, a report, a renewal or a due row brings about. What people list, delete or verify may read a table.
OF_THE_ENGINE = (
    "claims",
    "due",
    "events",
    "hot",
    "inbox",
    "items",
    "leases",
    "loading",
    "looking",
    "meta",
    "saving",
    "schedules",
    "starting",
    "transactional",
    "waits",
)
BY_NATURE = {  # these ask for everything of a kind, and the index holds nothing else
    "due._BELL_INBOX": "every row of the inbox",
    "due._BELL_STEPS": "every step that waits for a ring",
    "due._BELL_RUNS": "every run that waits for a ring",
    "due._INBOXES": "every row of the inbox, by its run",
    "leases._CHILDREN": "every step under way, once when a worker starts",
    "leases._FORGET": "every step under way, once an hour",
    "leases._LOST": "every step under way",
    "leases._OF_CHILD_ON": "every step under way, when a process was found dead",
    "loading._KEPT": "every step under way, when a commit has got no answer",
    "schedules._FAILING": "every schedule, for `doctor`",
    "looking._LOOK": "every step under way",
}


AN_IDLE_NIGHT = """
insert into wf_run (id, organization_id, workflow, definition, status, version, input, input_digest, created_at, ended_at)
select gen_random_uuid(), 'default', 'order', 'd', 'succeeded', 4, '{}', 'd', now(), now() from generate_series(1, 2000);
insert into wf_step (id, organization_id, run, name, status, attempt, token, claimed_by, ended_at, output)
select gen_random_uuid(), 'default', wf_run.id, 's' || n, 'succeeded', 1, gen_random_uuid(), gen_random_uuid(), now(), '1'
from wf_run, generate_series(1, 3) n;
insert into wf_history (run, version, organization_id, at, facts)
select id, n, 'default', now(), '[]' from wf_run, generate_series(1, 4) n;
analyze
"""


def statements() -> dict[str, Statement]:
    """The engine's statements by module and name."""
    found: dict[str, Statement] = {}
    for each in pkgutil.iter_modules(store.__path__):
        if each.name in OF_THE_ENGINE:
            for name, value in vars(importlib.import_module(f"wfcelery.store.{each.name}")).items():
                several = value.items() if isinstance(value, dict) else [("", value)]
                found |= {f"{each.name}.{name}{key}": one for key, one in several if isinstance(one, Statement)}
    return found


def walked(plan: list[str]) -> list[str]:
    """The parts of a plan that go through a whole table, or a whole index of a large one."""
    parts = []
    for line, after in zip(plan, [*plan[1:], ""], strict=True):
        whole = "Seq Scan" in line or (re.search(r"Index (Only )?Scan", line) and "Index Cond" not in after)
        if whole and not re.search(r"\bon wf_(worker|meta|sweeper)\b", line):
            parts.append(line.strip())
    return parts


def test_no_statement_of_the_engine_goes_through_a_table_whatever_the_planner_knows(postgres_url: str) -> None:
    migrations.upgrade(Database(postgres_url))
    address = postgres_url.replace("postgresql+psycopg://", "postgresql://", 1)
    said = " ".join(f"-c {name}={value}" for name, value in PLANNING.items())
    wrong: dict[str, list[str]] = {}
    with psycopg.connect(address, autocommit=True, options=said) as connection:
        for knowledge in ("", AN_IDLE_NIGHT):  # nothing is known of the tables; or that nothing in them is under way
            connection.execute(knowledge.encode())
            for name, statement in statements().items():
                text = f"explain (generic_plan, costs off) {statement.on('postgresql').text}"
                plan = [str(line) for (line,) in connection.execute(text.encode(), prepare=False)]
                if walked(plan):
                    wrong[name] = walked(plan)
    assert len(statements()) > 70
    assert wrong.keys() == BY_NATURE.keys(), {name: parts for name, parts in wrong.items() if name not in BY_NATURE}
