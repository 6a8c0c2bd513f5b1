"""The welcome of a member, in both spellings."""

from __future__ import annotations

from pathlib import Path

from tasks.members import Member, welcome
from wfcelery.authoring.yaml import load_yaml_file
from wfcelery.definition.model import signature
from wfcelery.definition.problems import problems

YAML = Path(__file__).resolve().parents[3] / "tasks" / "members.yaml"


def test_python_and_yaml_are_one_definition_without_problems() -> None:
    assert signature(welcome.definition) == signature(load_yaml_file(YAML))
    assert problems(welcome.definition) == []


def test_it_can_be_started() -> None:
    bound = welcome.bind(
        Member(id=7, name="Ann", email="ann@example.com"), "https://directory.example.com/", "https://partner.example.com/"
    )
    assert bound.input["member"] == {"id": 7, "name": "Ann", "email": "ann@example.com"}
