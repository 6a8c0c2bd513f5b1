"""What skips, expressions, variables and blocks come to in a run."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.acceptance.shell import ShellError
from tests.promises.conftest import APP, QUICK, Here

SKIPS = """
name: skips
parameters: {go: {type: boolean, default: false}}
tasks:
  - {name: off, action: $app.echo, when: "{{ parameters.go }}", input: {value: 1}}
  - {name: behind_after, action: $app.echo, after: [off], input: {value: "{{ task.off.status }} {{ task.off.result is none }}"}}
  - {name: behind_needs, action: $app.echo, needs: [off], input: {value: 1}}
  - {name: off_too, action: $app.echo, when: "{{ parameters.go }}", input: {value: 1}, on_success: [taken], on_complete: [anyhow]}
  - {name: taken, action: $app.echo, input: {value: 1}}
  - {name: anyhow, action: $app.echo, input: {value: anyhow}}
  - {name: behind_dead, action: $app.echo, after: [behind_needs], input: {value: 1}}
  - {name: chosen, action: $app.echo, after: [off, behind_after], input: {value: "{{ either(task.off.result, task.behind_after.result) }}"}}
output: {behind: "{{ task.behind_after.result }}", chosen: "{{ task.chosen.result }}"}
"""


@pytest.mark.promise("E9")
def test_a_skip_goes_on_by_one_rule(here: Here) -> None:
    """A condition of its own lets `after` and `on_complete` on; a value, `on_success` and what is dead do not."""
    here.publish(SKIPS)
    run = here.named("skips")
    assert here.result(run) == {"behind": "skipped true", "chosen": "skipped true"}
    assert here.steps(run) == {
        "off": "skipped",
        "behind_after": "succeeded",
        "behind_needs": "skipped",
        "off_too": "skipped",
        "taken": "skipped",
        "anyhow": "succeeded",
        "behind_dead": "skipped",
        "chosen": "succeeded",
    }


WORTH = [
    ("parameters.n == 4", True),
    ("parameters.n != 4", False),
    ("parameters.n < 5 and parameters.n <= 4", True),
    ("parameters.n > 4 or parameters.n >= 4", True),
    ("not (parameters.n > 4)", True),
    ("1 < parameters.n < 5", True),
    ("2 in parameters.list", True),
    ("9 not in parameters.list", True),
    ("parameters.n + 2 * 3 - 1", 9),
    ("parameters.n / 8", 0.5),
    ("parameters.n // 3", 1),
    ("parameters.n % 3", 1),
    ("2 ** parameters.n", 16),
    ("'a' ~ parameters.n", "a4"),
    ("'yes' if parameters.n > 3 else 'no'", "yes"),
    ("parameters.list | length", 3),
    ("parameters.list[1]", 2),
    ("parameters.none is none", True),
    ("gt(parameters.price, decimal('9.4'))", True),
    ("parameters.price > 10", False),
    ("false or false", False),
]


@pytest.mark.promise("E10")
def test_comparisons_arithmetic_and_logic_are_worth_what_they_should_be(here: Here) -> None:
    lines = "\n".join(f'      w{number}: "{{{{ {source} }}}}"' for number, (source, _) in enumerate(WORTH))
    here.publish(
        "name: worth\nparameters: {n: {type: integer}, list: {type: array}, none: {default: null}, price: {}}\n"
        f"tasks:\n  - name: it\n    action: $app.echo\n    input:\n     value:\n{lines}\noutput: '{{{{ task.it.result }}}}'\n"
    )
    start = "from decimal import Decimal\nstart_workflow('worth', {'n': 4, 'list': [1, 2, 3], 'none': None, 'price': Decimal('9.50')}).id"
    result = here.result(here.shell(start))
    assert [(source, result[f"w{number}"]) for number, (source, _) in enumerate(WORTH)] == WORTH
    assert [type(result[f"w{number}"]) for number in range(len(WORTH))] == [type(value) for _, value in WORTH]


REFUSED = {
    "parameters.word.upper()": "methods do not run here",
    "parameters.__init__": "no parameter",
    "range(1000000000)": "there is no function",
    "'x' | indent(1000000000)": "there is no filter",
    "self": "self",
}
BEYOND = ["parameters.word.__class__", "system.run_id.__class__"]
TOO_MUCH = [*BEYOND, "'a' * 1000000000", "10 ** (10 ** 8)", "parameters.word | list | join(parameters.word)"]


@pytest.mark.promise("E7")
def test_templates_reach_nothing_but_data_and_cannot_ask_for_much(here: Here) -> None:
    definition = """
        name: {name}
        parameters: {{word: {{type: string, default: x}}}}
        tasks:
          - name: it
            action: $app.echo
            input: {{value: "{{{{ {source} }}}}"}}
    """
    for number, (source, why) in enumerate(REFUSED.items()):
        with pytest.raises(ShellError, match="DefinitionProblems") as told:
            here.publish(definition.format(name=f"refused_{number}", source=source))
        assert why in str(told.value)
    runs = []
    for number, source in enumerate(TOO_MUCH):
        here.publish(definition.format(name=f"much_{number}", source=source))
        runs.append(here.named(f"much_{number}", {"word": "a" * 20_000}))
    for run, source in zip(runs, TOO_MUCH, strict=True):
        with pytest.raises(ShellError, match="RunFailed") as failed:
            here.result(run, within=10)
        assert source[:20] in str(failed.value)
    assert here.result(here.shell("start_workflow(double_twice.bind(1)).id")) == 4


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def either(request: pytest.FixtureRequest, make_shared_fleet: Callable[..., Here]) -> Here:
    """A worker on each database."""
    if request.param == "sqlite":
        found: Here = request.getfixturevalue("here")
        return found
    fleet = make_shared_fleet(app=APP, environment=QUICK, kind=Here)
    fleet.ready(fleet.worker(pool="threads", concurrency=4))
    return fleet


BRANCHES = """
name: branches
vars: {last: nobody}
tasks:
  - name: block
    type: parallel
    tasks:
      - {name: left, action: $app.echo, input: {value: left}, publish: {last: "{{ task.left.result }}"}}
      - {name: middle, action: $app.echo, input: {value: middle}, publish: {last: "{{ task.middle.result }}"}}
      - {name: right, action: $app.echo, input: {value: right}, publish: {last: "{{ task.right.result }}"}}
output: "{{ vars.last }}"
"""


@pytest.mark.promise("E6")
def test_of_three_that_publish_one_variable_the_last_commit_wins(either: Here) -> None:
    either.publish(BRANCHES)
    runs = [either.named("branches") for _ in range(10)]
    for run in runs:
        result = either.result(run)
        order = [fact["step"] for fact in either.facts(run, "step_succeeded") if fact["step"] in ("left", "middle", "right")]
        assert sorted(order) == ["left", "middle", "right"]
        assert [fact["by"] for fact in either.facts(run, "variables_set") if fact.get("by")] == order
        assert result == order[-1]
    assert either.faults() == {}


VALUE = (
    "from datetime import UTC, date, datetime, time, timedelta\nfrom decimal import Decimal\nfrom uuid import UUID\n"
    "value = {'at': datetime(2026, 3, 4, 5, 6, 7, 8, tzinfo=UTC), 'day': date(2026, 3, 4), 'hour': time(5, 6), 'price': Decimal('9.50'), "
    "'raw': bytes(range(256)), 'id': UUID(int=7), 'text': 'caf\\u00e9 \\U0001f600', 'big': 2**70, 'small': 1e-300, "
    "'nested': [{'deep': [None, True, 1.5, -3, {}]}], '$wf': ['looks', 'like ours'], 'items': {'keys': 1, 'get': 2}}\n"
)


@pytest.mark.promise("E11")
def test_values_come_back_equal_and_of_their_types(either: Here) -> None:
    told = either.shell(
        f"{VALUE}back = start_workflow(echo.bind(value)).result(timeout=20)\n"
        "[back == value, [type(one).__name__ for one in back.values()] == [type(one).__name__ for one in value.values()]]"
    )
    assert told == [True, True]


@pytest.mark.promise("E13")
def test_the_tasks_of_a_block_run_side_by_side(here: Here) -> None:
    here.publish(
        """
        name: side_by_side
        tasks:
          - name: both
            type: parallel
            tasks:
              - {name: one, action: $app.slow, input: {seconds: 1.0}}
              - {name: two, action: $app.slow, input: {seconds: 1.0}}
              - {name: three, action: $app.slow, input: {seconds: 1.0}}
        output: "{{ task.both.result }}"
        """
    )
    run = here.named("side_by_side")
    assert here.result(run) == {"one": 1.0, "two": 1.0, "three": 1.0}
    keys = here.shell(f"from wfcelery.service import context, runs\n[step.key for step in runs.shown(context.current(), {run!r}).steps]")
    begun = sorted(effect.at for effect in here.effects.all("slow") if effect.key in keys)
    assert len(begun) == 3
    assert begun[-1] < begun[0] + 1.0, "the last began before the first had ended"


@pytest.mark.promise("E7")
def test_an_undefined_value_fails_the_step_however_it_is_written_and_is_not_waited_for(here: Here) -> None:
    """A whole reference is read when the step is claimed, an item's template too: no other release would find more there."""
    for name, given in {"whole": '"{{ task.a.result.y }}"', "mixed": '"so {{ task.a.result.y }}"', "item": '"{{ item.y }}"'}.items():
        items = "with_items: [{x: 1}], " if name == "item" else ""
        here.publish(
            f"name: undefined_{name}\ntasks:\n  - {{name: a, action: $app.echo, input: {{value: {{x: 1}}}}}}\n"
            f"  - {{name: b, action: $app.echo, {items}needs: [a], input: {{value: {given}}}}}\n"
        )
        run = here.named(f"undefined_{name}")
        with pytest.raises(ShellError, match=r"RunFailed.*(task\.a\.result|item)\.y"):
            here.result(run, within=10)
        assert here.facts(run, "step_parked") == []
        assert here.query("select error like '%ExpressionError%' from wf_dead_letter where run = :run", run=here.id(run)) == [(1,)]
    assert here.faults() == {}
