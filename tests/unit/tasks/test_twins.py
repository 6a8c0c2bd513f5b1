"""Every reference workflow stands in Python and in YAML, and the two are one definition without a problem."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest

from wfcelery.authoring.decorators import Workflow
from wfcelery.authoring.yaml import load_yaml_file
from wfcelery.definition.model import signature
from wfcelery.definition.problems import problems

FILES = sorted((Path(__file__).resolve().parents[3] / "tasks").glob("*.yaml"))


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_python_and_yaml_are_one_definition_without_problems(file: Path) -> None:
    written = load_yaml_file(file)
    module = importlib.import_module(f"tasks.{file.stem}")
    (traced,) = (found for found in vars(module).values() if isinstance(found, Workflow) and found.name == written.name)

    assert signature(traced.definition) == signature(written)
    assert problems(written) == []
