"""The floor's tables, with the columns and indexes that a durable engine cannot do without. `python -m` makes them."""

from __future__ import annotations

import os

import psycopg

TABLES = """
create table floor_run (
  id uuid primary key, organization text not null, workflow text not null, status text not null, version int not null,
  open_steps int not null, input text not null, output text, due_at timestamptz, ring_at timestamptz,
  created_at timestamptz not null default clock_timestamp(), started_at timestamptz, ended_at timestamptz
) with (fillfactor = 70);
create index floor_run_ring on floor_run (ring_at) where ring_at is not null;
create index floor_run_newest on floor_run (organization, created_at);

create table floor_step (
  id uuid primary key, run uuid not null references floor_run (id), name text not null, item int not null default -1, fan_out uuid,
  status text not null, attempt int not null, token uuid, claimed_by text, claimed_at timestamptz, ended_at timestamptz,
  due_at timestamptz, ring_at timestamptz, input text, output text, items_left int,
  unique (run, name, item)
) with (fillfactor = 70);
create index floor_step_ring on floor_step (ring_at) where ring_at is not null;
create index floor_step_items on floor_step (fan_out, due_at, item) where status = 'ready';
create index floor_step_claimed on floor_step (claimed_by) where status = 'running';

create table floor_inbox (id uuid primary key, run uuid not null references floor_run (id), at timestamptz not null, fact text not null);
create index floor_inbox_run on floor_inbox (run);

create table floor_history (
  run uuid not null references floor_run (id), version int not null, at timestamptz not null default clock_timestamp(), facts text not null,
  primary key (run, version)
);
"""


def create(address: str) -> None:
    with psycopg.connect(address, autocommit=True) as connection:
        connection.execute(TABLES)


if __name__ == "__main__":
    create(os.environ["BENCH_DATABASE"])
