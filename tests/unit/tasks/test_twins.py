"""Every reference workflow stands in Python and in YAML, and the two are one definition without a problem."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest

from tasks.app import CATALOGUE
from wfcelery.authoring.decorators import Workflow
from wfcelery.authoring.yaml import load_yaml_file
from wfcelery.definition.model import signature
from wfcelery.definition.problems import problems

FILES = sorted((Path(__file__).resolve().parents[3] / "tasks").glob("*.yaml"))
MODULES = [importlib.import_module(f"tasks.{name}") for name in (*CATALOGUE, "members")]
TRACED = {found.name: found for module in MODULES for found in vars(module).values() if isinstance(found, Workflow)}


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_python_and_yaml_are_one_definition_without_problems(file: Path) -> None:
    written = load_yaml_file(file)

    assert signature(TRACED[written.name].definition) == signature(written)
    assert problems(written) == []


def test_every_workflow_but_the_report_has_its_twin() -> None:
    assert {load_yaml_file(file).name for file in FILES} == TRACED.keys() - {"airport_report"}
