"""What undoes a step and the hooks of a workflow, in Python: the same definition as in YAML, and what is refused at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from wfcelery import AuthoringError, Compensate, Failed, Retry, after, step, workflow
from wfcelery.authoring.yaml import load_yaml
from wfcelery.definition.model import signature
from wfcelery.definition.problems import problems

HERE = __name__
TEXT = f"""
name: undone_here
on_error: stop
parameters: {{number: {{type: integer, required: true}}}}
hooks:
  on_failure: {HERE}.tell
  on_cancel: shop.tell
  on_complete: {{action: {HERE}.tell, retry: {{count: 1}}, timeout: 3s, queue: desk}}
tasks:
  - name: charge
    action: {HERE}.charge
    input: {{number: "{{{{ parameters.number }}}}"}}
    on_error: compensate
    compensate: {HERE}.refund
  - name: again
    action: {HERE}.charge
    after: charge
    input: {{number: "{{{{ parameters.number }}}}"}}
    on_error: stop
    compensate: {{action: {HERE}.refund, even_if_unknown: true, retry: {{count: 5}}}}
  - {{name: last, action: {HERE}.charge, after: again, input: {{number: "{{{{ parameters.number }}}}"}}, on_error: continue}}
"""


@step
def refund(number: int, result: str | None = None) -> None: ...


@step(compensate=refund, on_error="compensate")
def charge(number: int) -> str:
    return str(number)


@step
def tell(number: int, ending: str, error: dict[str, str | None] | None) -> None: ...


@workflow(
    name="undone_here",
    on_error="stop",
    on_failure=tell,
    on_cancel="shop.tell",
    on_complete=tell.options(retry=Retry(1), queue="desk", timeout="3s"),
)
def paid(number: int) -> None:
    with after(charge(number)):
        again = charge.options(name="again", on_error="stop", compensate=Compensate(refund, even_if_unknown=True, retry=Retry(5)))(number)
    charge.options(name="last", after=again, on_error=Failed, compensate=None)(number)


def test_python_and_yaml_say_undoing_and_hooks_alike() -> None:
    assert signature(paid.definition) == signature(load_yaml(TEXT))
    assert not [problem for problem in problems(paid.definition) if problem.severity == "error"]


def test_a_run_of_one_step_is_undone_as_its_code_says() -> None:
    [task] = charge.bind(7).definition.tasks
    assert task.compensate is not None
    assert task.compensate.action == refund.name
    [alone] = charge.options(compensate=None).bind(7).definition.tasks
    assert (alone.compensate, alone.on_error) == (None, None)


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        (lambda: step(compensate=7), "@step, compensate is a step or the name of one, not 7"),  # type: ignore[call-overload]
        (lambda: workflow(on_complete=paid), "@workflow, on_complete is a step or the name of one, not"),
        (lambda: workflow(on_error="ignore"), "@workflow, on_error is one of stop, compensate, not 'ignore'"),  # type: ignore[call-overload]
        (lambda: charge.options(compensate=refund.options(after=1)), "after= means nothing; it may say retry, timeout, queue"),
        (lambda: charge.options(on_error="continue"), 'on_error is "stop", "compensate" or Failed, not \'continue\''),  # type: ignore[call-overload]
        (lambda: Compensate(print), "not print; write @step above it, or adopt() a Celery task"),
        (lambda: Compensate(refund, timeout="soon"), "Compensate(), timeout: 'soon' is not a span of time"),
        (lambda: Compensate(refund)(7), "it is given to options(compensate=…), and not called"),
    ],
)
def test_what_cannot_be_meant_is_refused_where_it_is_written(wrong: Callable[[], Any], told: str) -> None:
    with pytest.raises(AuthoringError) as caught:
        made = wrong()
        made(lambda: None)
    assert told in str(caught.value)
