"""The parts of the chaos rig: a rig that cannot fail proves nothing."""

from __future__ import annotations

from collections.abc import Callable

import psycopg

from tests.chaos.plans import ORGANIZATIONS, SHARES, canary_of, plan_of

Connect = Callable[[], psycopg.Connection[tuple[object, ...]]]


def test_a_seed_gives_the_same_runs_for_ever() -> None:
    first, again, other = ([plan_of(seed, number) for number in range(900)] for seed in (1, 1, 2))
    assert first == again
    assert first != other
    assert {plan.kind for plan in first} == set(SHARES)
    assert len({(plan.organization, plan.key) for plan in first}) == 900


def test_each_key_is_used_once_by_each_organization_and_with_another_answer() -> None:
    plans = [plan_of(1, number) for number in range(900)]
    for key in {plan.key for plan in plans}:
        assert sorted(plan.organization for plan in plans if plan.key == key) == sorted(ORGANIZATIONS)
    chains = {plan.organization: plan for plan in plans if plan.kind == "chain"}
    assert len({plan.answer for plan in chains.values()}) == 3
    assert all(canary_of(1, organization) in plan.answer for organization, plan in chains.items())


def test_an_end_that_was_not_foretold_is_told() -> None:
    plans = {
        plan.kind: plan for plan in (plan_of(1, number) for number in range(900)) if plan.cancel_after is None or plan.must_be_cancelled
    }
    chain, doomed, endless, evolving = (plans[kind] for kind in ("chain", "doomed", "endless", "evolving"))
    assert chain.wrong("succeeded", chain.answer, None, False) is None
    assert chain.wrong("succeeded", f"{chain.answer}-d", None, False)
    assert chain.wrong("cancelled", None, None, False)
    assert chain.wrong("failed", None, {"message": "lost"}, False)
    assert doomed.wrong("failed", None, {"message": str(doomed.error)}, False) is None
    assert doomed.wrong("failed", None, {"message": "another"}, False)
    assert doomed.wrong("succeeded", None, None, False)
    assert endless.wrong("cancelled", None, None, False) is None
    assert endless.wrong("succeeded", "w-a-b", None, False)
    assert evolving.wrong("succeeded", "3-3-3", None, False) is None
    assert evolving.wrong("succeeded", "3-3-4", None, False)
