"""A run that begins with what another run has: it stands where the rules put it, and executes nothing of what it took over."""

from __future__ import annotations

from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from tests.unit.core.driver import World
from tests.unit.core.generators import Scenario, scenarios
from wfcelery.core.decision import Decision
from wfcelery.core.events import Begun, Fact, TakenOver
from wfcelery.core.rows import Ended
from wfcelery.core.taking_over import to_take


class Again(World):
    """The same graph once more, from a step of a run that has ended on; nothing goes wrong any more."""

    def __init__(self, old: World, start: str) -> None:
        super().__init__(Scenario(old.scenario.graph, {}, old.scenario.seed + 1))
        rows = old.tasks()
        taken, skipped = to_take(self.plan, list(old.steps.values()), start)
        ends = {name: Ended("succeeded", old._result(name).result) for name in taken}
        self.by_hand |= dict.fromkeys(taken, "succeeded") | dict.fromkeys(skipped, "skipped")
        self.taken = TakenOver(old.run.id, ends | dict.fromkeys(skipped, Ended("skipped")))
        self.before = {name: rows[name].output if rows[name].items_left is None else ends[name].result for name in taken}

    def tell(self, *facts: Fact) -> Decision:
        begins = any(isinstance(fact, Begun) for fact in facts)
        return super().tell(*([self.taken] if begins else []), *facts)


@given(scenarios(), st.integers(0, 20))
@settings(max_examples=120, phases=[Phase.generate])
def test_after_every_commit_of_a_run_that_took_over_another_the_rows_stand_where_the_rules_put_them(
    scenario: Scenario, number: int
) -> None:
    old = World(scenario)
    old.play()
    names = [name for name, flat in old.flats.items() if flat.kind != "gate"]
    start = names[number % len(names)]

    again = Again(old, start)
    reached = dict(again.by_hand)
    # What the new run does not come to was not there to be decided.
    again.play()

    rows = again.tasks()
    assert start not in reached
    for name, value in again.before.items():
        row = rows.get(name)
        if row is not None and str(row.status) == "succeeded" and row.token is None:
            assert (row.output, row.attempt) == (value, 0), f"{name} was taken over, and is another"
