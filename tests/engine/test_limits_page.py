"""The page of limits: its definitions are executed, and its Python says the same."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from tests.engine.machine import Machine
from tests.store.rows import change, look
from wfcelery.authoring.decorators import Workflow
from wfcelery.authoring.registry import registry
from wfcelery.authoring.yaml import load_yaml
from wfcelery.definition.model import signature
from wfcelery.store.database import Database

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "limit-and-hold.md"
TEXT = PAGE.read_text(encoding="utf-8")
YAML = re.findall(r"```yaml\n(.*?)```", TEXT, re.DOTALL)
PYTHON = [block for block in re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL) if "@workflow" in block]


@pytest.mark.parametrize("number", range(len(YAML)))
def test_each_definition_of_the_page_runs_to_its_end(database: Database, number: int) -> None:
    machine = Machine(database, YAML[number])
    change(database, "update wf_run set input = :given", given='{"shop":"berlin"}')
    assert machine.work() == "succeeded"
    assert not look(database, "select id from wf_limit_use")
    assert not machine.problems()


@pytest.mark.parametrize("number", range(len(YAML)))
def test_each_has_a_twin_in_python(number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_steps", {})  # other tests have steps of these names
    (tmp_path / f"page_{number}.py").write_text(PYTHON[number])
    monkeypatch.syspath_prepend(tmp_path)
    module: Any = __import__(f"page_{number}")
    [twin] = [value for value in vars(module).values() if isinstance(value, Workflow)]
    said = load_yaml(YAML[number])
    assert signature(twin.definition.model_copy(update={"name": said.name})) == signature(said)
