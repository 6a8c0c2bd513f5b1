"""The public names: which there are, where they come from, and what importing them costs."""

from __future__ import annotations

import ast
import pickle
import subprocess
import sys
from pathlib import Path

import pytest

import wfcelery
from wfcelery import errors


def test_the_public_names_are_these() -> None:
    assert wfcelery.__all__ == sorted(wfcelery.__all__)
    assert " ".join(wfcelery.__all__) == (
        "ApprovalNotice Approved AttemptCancelled AuthoringError Bound Breaker Bulk CannotRead Cause Compensate Concurrency "
        "DefinitionProblems DefinitionVersion End Failed GiveUp InProgress InvalidInput InvalidSchedule KeyConflict Limit NotAllowedNow "
        "NotFound OnEvent QuotaExceeded Race Rate Retry RetryLater Run RunCancelled RunFailed RunTimedOut Schedule Secret Step "
        "StepContext StepError StillRunning Submitted WfceleryError Workflow aapprove aarchive_definition aassign abulk add_items adopt "
        "after aget_schedule ahold alist_schedules approval approve apublish_definition archive_definition areject arelease aschedule "
        "asend_event assign astart_workflow aunarchive_definition batched bulk cancelled complete_items completed continue_as_new "
        "current_step either end error expr fail failed form get_run get_schedule hold install is_none list_schedules lock loop not_ "
        "on_event once otherwise publish publish_definition race region reject release required rerun_failed schedule secret send_event "
        "sleep sleep_until start_workflow step succeeded text timed_out unarchive_definition wait_event when workflow"
    )


def test_type_checkers_and_python_find_each_name_in_the_same_place() -> None:
    tree = ast.parse(Path(wfcelery.__file__).read_text(encoding="utf-8"))
    said = {alias.name: node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) for alias in node.names}
    said.pop("import_module"), said.pop("TYPE_CHECKING"), said.pop("Any"), said.pop("annotations")

    assert said == wfcelery._HOME_OF
    assert sorted(said) == wfcelery.__all__


@pytest.mark.parametrize("name", wfcelery.__all__)
def test_each_name_is_there(name: str) -> None:
    assert getattr(wfcelery, name) is getattr(wfcelery, name)


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'wait_for_it'"):
        _ = wfcelery.wait_for_it


@pytest.mark.parametrize(
    ("statement", "unloaded"),
    [
        ("import wfcelery", {"celery", "kombu", "sqlalchemy", "alembic", "pydantic"}),
        ("from wfcelery import step, workflow, when, current_step, Retry", {"celery", "kombu", "sqlalchemy", "alembic"}),
    ],
)
def test_importing_loads_no_more_than_it_needs(statement: str, unloaded: set[str]) -> None:
    script = f"import sys; {statement}; print(*sorted({unloaded!r} & set(sys.modules)))"

    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == ""


def test_importing_takes_at_most_fifty_milliseconds() -> None:
    script = "import time; began = time.perf_counter(); import wfcelery; print(time.perf_counter() - began)"

    fastest = min(
        float(subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout) for _ in range(5)
    )

    assert fastest <= 0.05


def test_every_error_is_in_the_tree_on_top_of_its_file_and_has_a_code_of_its_own() -> None:
    kinds = {kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, errors.WfceleryError)}

    missing = sorted(kind.__name__ for kind in kinds if kind.__name__ not in (errors.__doc__ or ""))
    codes = [kind.code for kind in kinds if "code" in vars(kind)]
    assert missing == []
    assert len(codes) == len(set(codes))


def test_an_error_crosses_processes_with_its_facts() -> None:
    error = errors.RunFailed("r1", "charge", errors.StepError("CardRefused", "51", "no funds"))

    copy = pickle.loads(pickle.dumps(error))  # noqa: S301 - our own

    assert (copy.run, copy.step, copy.error, str(copy)) == (
        "r1",
        "charge",
        error.error,
        "run r1 failed at step charge: CardRefused: no funds",
    )
