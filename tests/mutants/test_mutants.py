"""The mistakes that the protocol's model catches are caught in the code, too."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from model.mutants import MUTANTS
from tests.mutants.run import Patch, apply_patch, copy_of_the_tree, patches, red

ALL = patches()


@pytest.fixture(scope="module")
def copy() -> Iterator[Path]:
    with copy_of_the_tree() as made:
        yield made


@pytest.mark.long
@pytest.mark.parametrize("patch", ALL, ids=lambda patch: patch.name)
def test_a_mistake_in_the_protocol_turns_its_tests_red(copy: Path, patch: Patch) -> None:
    assert red(patch, copy) is None


def test_each_patch_applies_to_the_code_as_it_is(copy: Path) -> None:
    """Those of the simulation too: of all of them, each check makes a few."""
    paths = [path for folder in ("mutants", "simulation/mutants") for path in (copy / "tests" / folder).glob("*.patch")]
    assert len(paths) > 60
    assert [path.name for path in paths if apply_patch(copy, path, "--dry-run").returncode] == []


def test_each_patch_is_a_mistake_of_the_model() -> None:
    assert {patch.mutant for patch in ALL} - {*MUTANTS, "none"} == set()
    assert len([patch for patch in ALL if patch.mutant in MUTANTS]) >= 10
