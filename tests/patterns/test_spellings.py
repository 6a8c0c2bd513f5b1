"""A pattern is one definition, whichever way it is written."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.acceptance.processes import Fleet
from tests.patterns.conftest import PATTERNS
from wfcelery.authoring.yaml import load_yaml, load_yaml_file
from wfcelery.definition.model import signature

FILES = sorted(PATTERNS.glob("pattern_*.yaml"))
SIGN = "from pathlib import Path\nfrom wfcelery.authoring.yaml import load_yaml_file\nfrom wfcelery.definition.model import signature\n"


@pytest.mark.parametrize("file", FILES, ids=[file.stem for file in FILES])
def test_the_yaml_and_the_python_of_a_pattern_have_one_signature(file: Path, worker: Fleet) -> None:
    number = file.stem.removeprefix("pattern_")
    twin = worker.shell(f"{SIGN}signature(app_module.WORKFLOWS[{number!r}].definition)")
    assert worker.shell(f"{SIGN}signature(load_yaml_file(Path({str(file)!r})))") == twin


@pytest.mark.parametrize("page", ["cancel-regions-and-milestones.md", "events.md", "race.md"])
def test_the_definitions_of_a_page_are_those_of_patterns(page: str) -> None:
    blocks = re.findall(r"```yaml\n(.*?)```", (PATTERNS.parent / "reference" / page).read_text(encoding="utf-8"), re.DOTALL)
    executed = {signature(load_yaml_file(file)) for file in FILES}

    assert [signature(load_yaml(block)) in executed for block in blocks] == [True] * len(blocks)
