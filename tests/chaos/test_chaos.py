"""Chaos with fixed seeds: nothing lost, nothing twice, every answer as it was known beforehand. A minute of it is part of every check."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.chaos.beside import begun_by_claim
from tests.chaos.lines import lines
from tests.chaos.plans import ORGANIZATIONS
from tests.chaos.rig import Rig
from wfcelery.service.invariants import read_effects, read_tap

Tell = Callable[[str, Any], None]
SEED = 4
IDS = {"v", "ns", "org", "run", "step"}


def hit(summary: dict[str, Any]) -> list[str]:
    """The classes of faults that hit work in flight."""
    return [name for name, many in summary["in_flight"].items() if many]


def told(summary: dict[str, Any]) -> str:
    """A chaos run in one line."""
    recovery = summary["recovery"]
    p99 = ", ".join(f"{name.replace('_', ' ')} {recovery[f'{name}_p99']} s" for name in ("worker_kill", "child_kill", "ring_again"))
    return (
        f"seed {summary['seed']}: {summary['runs']} runs, {summary['steps']} steps, {len(hit(summary))} classes of faults hit work in "
        f"flight, {summary['overlapping']} at once, {100 * (summary['unknown_share'] or 0):.1f} % of {summary['commits'] or 0} commits "
        f"unknown; p99 alone: {p99}"
    )


@pytest.mark.timeout(420)
def test_a_minute_of_overlapping_faults_changes_when_runs_end_and_not_how(tmp_path: Path, record_property: Tell) -> None:
    summary = Rig(tmp_path, SEED, minutes=1.0, rate=3.0).run()

    record_property("told", told(summary))
    assert summary["violations"] == []
    assert summary["runs"] > 30
    assert len(hit(summary)) >= 8, summary["in_flight"]
    assert json.loads((tmp_path / "summary.json").read_text()) == summary
    assert summary.keys() >= {"runs", "steps", "faults", "in_flight", "violations", "seed", "commit"}
    begun = [line for line in lines(tmp_path / "effects.jsonl") if line.get("phase") == "begun"]
    assert len(begun) > 30
    assert all(line.keys() >= {"key", "run", "step", "attempt", "token", "phase"} for line in begun)


@pytest.mark.long
@pytest.mark.timeout(600)
def test_a_minute_of_faults_on_the_embedded_setup(tmp_path: Path, record_property: Tell) -> None:
    summary = Rig(tmp_path, SEED, minutes=1.0, setup="embedded").run()

    record_property("told", told(summary))
    assert summary["violations"] == []
    assert summary["runs"] > 30
    assert len(hit(summary)) >= 3, summary["in_flight"]


# ---- twenty minutes, which several tests look at ------------------------------------------------------------------------


@pytest.fixture(scope="module")
def twenty_minutes(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """A folder and its summary."""
    folder = tmp_path_factory.mktemp("chaos")
    return folder, Rig(folder, SEED, minutes=20.0, rate=6.0, gap=2.0).run()


@pytest.mark.long
@pytest.mark.timeout(3000)
def test_twenty_minutes_of_faults_lose_nothing(twenty_minutes: tuple[Path, dict[str, Any]], record_property: Tell) -> None:
    _, summary = twenty_minutes
    record_property("told", told(summary))
    assert summary["violations"] == []
    assert summary["runs"] > 1000
    assert len(hit(summary)) >= 20, summary["in_flight"]
    assert summary["unknown_share"] >= 0.03


@pytest.mark.long
@pytest.mark.timeout(3000)
@pytest.mark.promise("A14", "D4", "D6")
def test_under_faults_each_claim_is_executed_once_and_each_result_recorded_once(twenty_minutes: tuple[Path, dict[str, Any]]) -> None:
    """Three beats and all workers sweep at once; messages come twice; workers are killed, and come back after their lease."""
    folder, summary = twenty_minutes
    for fault in ("three_beats", "repeated_messages", "group_kill", "main_kill", "child_kill", "stall"):
        assert summary["in_flight"][fault] > 0, fault
    assert max(begun_by_claim(lines(folder / "raw-effects.jsonl")).values()) == 1

    effects, _, _ = read_effects(folder / "effects.jsonl")
    again = {effect.key for of in effects.values() for effect in of if effect.phase == "begun" and effect.attempt > 1}
    assert len(again) > 100  # another has gone on with these
    applied = Counter(effect.key for of in effects.values() for effect in of if effect.phase == "applied")
    assert applied
    assert max(applied.values()) == 1
    assert summary["violations"] == []


@pytest.mark.long
@pytest.mark.timeout(3000)
@pytest.mark.promise("A15", "A17")
def test_under_faults_messages_hold_ids_alone_and_organizations_stay_apart(twenty_minutes: tuple[Path, dict[str, Any]]) -> None:
    """The forged messages among them name an organization that exists and that is another's than the run's."""
    folder, summary = twenty_minutes
    assert summary["in_flight"]["forged_messages"] > 0
    carried = read_tap(folder / "tap.jsonl")
    assert len(carried) > 1000
    assert {name for message in carried for name in message.body} == IDS
    assert max(message.bytes for message in carried) <= 1024
    assert {message.body["org"] for message in carried if message.body["run"]} == set(ORGANIZATIONS)

    asked: dict[str, set[str]] = {}
    for line in lines(folder / "client.jsonl"):
        asked.setdefault(line["key"], set()).add(line["organization_id"])
    assert sum(len(of) == len(ORGANIZATIONS) for of in asked.values()) > 300  # keys that all of them have used
    assert summary["violations"] == []
