"""Random workflows, random outcomes, random schedules: `decide` and the naive oracle agree after every commit."""

from __future__ import annotations

import pytest
from hypothesis import given, settings

from tests.unit.core.driver import World
from tests.unit.core.generators import Scenario, scenarios, undone_scenarios
from wfcelery.core.states import RunStatus


@pytest.mark.promise("D14", "E4")
@given(scenarios())
@settings(max_examples=350)
def test_after_every_commit_the_rows_stand_where_the_rules_put_them(scenario: Scenario) -> None:
    World(scenario).play()


@given(scenarios(smooth=True))
@settings(max_examples=150)
def test_a_run_in_which_nothing_fails_succeeds_in_every_order(scenario: Scenario) -> None:
    world = World(scenario)
    world.play()

    assert world.run.status is RunStatus.SUCCEEDED


@given(undone_scenarios())
@settings(max_examples=200)
def test_what_was_done_is_undone_once_and_backwards_and_then_the_hooks_are_called(scenario: Scenario) -> None:
    World(scenario).play()


@pytest.mark.long
@given(scenarios(most=20))
@settings(max_examples=20_000)
def test_at_length_after_every_commit_the_rows_stand_where_the_rules_put_them(scenario: Scenario) -> None:
    World(scenario).play()
