"""A commit of a family of runs whose answer is lost, before it landed or after: each child is born once, and each end is told once."""

from __future__ import annotations

import pytest

from tests.engine.family import Family
from tests.engine.machine import Cut
from tests.engine.test_child_runs import CHILD, PARENT
from tests.store.rows import look
from wfcelery.store.database import Database

COMMITS = 40


@pytest.mark.parametrize("landed", [True, False], ids=["landed", "did not land"])
def test_each_commit_may_get_no_answer(sqlite: Database, landed: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    for at in range(COMMITS):
        machine = Family(sqlite, PARENT % "", CHILD)
        cut = Cut(at, landed)
        with cut.on(monkeypatch):
            ended = machine.work()
        assert ended == "succeeded", f"commit {at}"
        assert machine.problems() == [], f"commit {at}"
        born = "select count(*) from wf_run r join wf_step s on s.id = r.parent_step where s.run = :run"
        assert look(sqlite, born, run=machine.run) == [(1,)], f"commit {at}"
        if not cut.happened:
            return
