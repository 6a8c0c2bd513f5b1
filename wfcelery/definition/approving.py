"""What a task of type approval says: how it is checked, and what the plan holds of it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from wfcelery.definition.document import Task
from wfcelery.definition.expressions import Template
from wfcelery.definition.findings import Findings
from wfcelery.definition.forms import NAME, SCHEMA
from wfcelery.definition.inputs import Fault, schema_faults
from wfcelery.definition.plan import Asked

OF_APPROVALS = ("title", "assignees", "form", "remind", "escalate")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.]*")
_LONGEST = 255


def asked_of(task: Task) -> Asked | None:
    """What people are asked; None: the task is no approval."""
    if task.type != "approval" or task.title is None:
        return None
    return Asked(
        title=Template.parse(task.title),
        assignees=None if task.assignees is None else Template.parse(task.assignees),
        form=task.form,
        remind=task.remind,
        escalate=tuple((each.after, each.to) for each in task.escalate),
    )


def faults_of(form: Mapping[str, Any] | None, given: Any) -> list[Fault]:
    """(where, what) of everything in an answer that its form does not take; of a form whose schema nobody knows nothing."""
    if form is None:
        return [] if given is None else [("form", "nothing is asked for")]
    schema = form.get(SCHEMA)
    return [] if schema is None else schema_faults("form", {} if given is None else given, schema)


def check_approval(task: Task, findings: Findings) -> None:
    """All that is wrong with one."""
    if not task.title:
        findings.of_task(task, (), "it says no title: what people are asked")
    for wrong in _assignees(task.assignees):
        findings.of_task(task, ("assignees",), wrong)
    _check_times(task, findings)
    form = task.form
    if form is None:
        return
    if not set(form) <= {NAME, SCHEMA} or not form:
        findings.of_task(task, ("form",), "it is the name of a model, a JSON schema, or fields such as reason: {type: string}")
    elif NAME in form and not (isinstance(form[NAME], str) and _NAME.fullmatch(form[NAME])):
        findings.of_task(task, ("form",), f"{str(form[NAME])[:60]!r} is no name of a model")


def _assignees(given: Any) -> list[str]:
    if given is None or isinstance(given, str):  # a template
        return []
    if not isinstance(given, list) or not given:
        return ["they are a list of role:finance or names; leave it out to ask everybody"]
    named = all(isinstance(name, str) and 0 < len(name.encode()) <= _LONGEST for name in given)
    return [] if named else [f"each is a text of at most {_LONGEST} bytes, such as role:finance or ada"]


def _check_times(task: Task, findings: Findings) -> None:
    if task.remind is not None and task.remind < 1:
        findings.of_task(task, ("remind",), "nobody is reminded more often than each second")
    before = 0.0
    for number, each in enumerate(task.escalate):
        if each.after <= before:
            findings.of_task(task, ("escalate", number, "after"), "it comes after the opening, and after those before it")
        if not each.to:
            findings.of_task(task, ("escalate", number, "to"), "it names nobody who is asked then")
        if task.timeout is not None and each.after >= task.timeout:
            findings.of_task(task, ("escalate", number, "after"), "it comes before the timeout, or never")
        before = max(before, each.after)
    if task.remind is not None and task.timeout is not None and task.remind >= task.timeout:
        findings.of_task(task, ("remind",), "it comes before the timeout, or never")
