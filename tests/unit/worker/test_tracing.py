"""Sentry and OpenTelemetry see each attempt once, under its task's name; the engine's messages they never see."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

from tests.unit.worker.processes import ROOT


def told(action: str, failures: int) -> Any:
    command = [sys.executable, "-m", "tests.unit.worker.traced_app", action, str(failures)]
    return json.loads(subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=60).stdout)


@pytest.mark.parametrize("action", ["shop.flaky", "old.flaky"])
def test_three_failed_attempts_and_a_success_are_no_error(action: str) -> None:
    seen = told(action, 3)
    assert seen["errors"] == []
    assert seen["transactions"] == [action] * 4
    assert seen["spans"] == [f"run/{action}"] * 4


@pytest.mark.parametrize("action", ["shop.flaky", "old.flaky"])
def test_a_step_that_fails_for_good_is_one_error(action: str) -> None:
    seen = told(action, 4)
    assert seen["errors"] == ["ValueError"]
    assert not any("wfcelery" in name for name in seen["spans"] + seen["transactions"])
