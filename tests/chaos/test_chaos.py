"""One minute of chaos with a fixed seed: nothing lost, nothing twice, every answer as it was known beforehand."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.chaos.rig import Rig

pytestmark = [pytest.mark.long, pytest.mark.timeout(900)]


@pytest.mark.parametrize("setup", ["production", "embedded"])
def test_a_minute_of_overlapping_faults_changes_when_runs_end_and_not_how(
    setup: str, tmp_path: Path, record_property: Callable[[str, Any], None]
) -> None:
    summary = Rig(tmp_path, seed=4, minutes=1.0, setup=setup).run()

    hit = [name for name, many in summary["in_flight"].items() if many]
    record_property("told", f"{summary['runs']} runs, {summary['steps']} steps, {len(hit)} classes of faults that hit work in flight")
    assert summary["violations"] == []
    assert summary["runs"] > 50
    assert len(hit) >= 3, summary
