"""The steps that every worker knows: their names, and what is wrong with a task that calls one."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches

from wfcelery.definition.document import Definition, Task
from wfcelery.definition.findings import Findings, did_you_mean
from wfcelery.definition.statement_text import fault_of_statement


@dataclass(frozen=True, slots=True)
class BuiltIn:
    """Where a built-in step is, what it takes, and which of that is written in the definition and never comes from data."""

    module: str
    required: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()
    fixed: tuple[str, ...] = ()

    @property
    def parameters(self) -> tuple[str, ...]:
        return *self.required, *self.optional


BUILT_IN: Mapping[str, BuiltIn] = {
    "wf.email": BuiltIn(
        "wfcelery.builtin.mailing",
        ("to", "subject", "text"),
        ("html", "cc", "bcc", "reply_to", "sender", "attachments", "timeout"),
    ),
    "wf.fail": BuiltIn("wfcelery.builtin.plain", ("message",), ("code",)),
    "wf.http": BuiltIn(
        "wfcelery.builtin.calling_out",
        ("url",),
        ("method", "headers", "json", "body", "query", "timeout", "expect", "credentials", "form"),
        fixed=("credentials",),
    ),
    "wf.noop": BuiltIn("wfcelery.builtin.plain", (), ("value",)),
    "wf.sql": BuiltIn(
        "wfcelery.builtin.asking", ("statement",), ("parameters", "database", "limit", "timeout"), fixed=("statement", "database")
    ),
    "wf.webhook": BuiltIn("wfcelery.builtin.calling_out", ("url", "event", "data"), ("secret", "at", "timeout"), fixed=("secret",)),
}

_NAME = re.compile(r"(?!whsec_)[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}")  # a secret itself is none, and no URL is
_ONE_WORD = re.compile(r"wf\.\w+")


def check_built_in(definition: Definition, findings: Findings) -> None:
    """Every call of a built-in step: its name, its parameters, and what must not come from data."""
    for task, _ in definition.every_task():
        action = task.action or ""
        if action in BUILT_IN:
            _check_call(task, action, BUILT_IN[action], findings)
        elif _ONE_WORD.fullmatch(action):
            near = get_close_matches(action, BUILT_IN, 1, cutoff=0.7)  # else it is a task of an app's own module wf
            if near:
                findings.of_task(task, ("action",), f"there is no built-in step {action}{did_you_mean(near)}")


def _check_call(task: Task, action: str, known: BuiltIn, findings: Findings) -> None:
    if task.args is not None:
        findings.of_task(task, ("args",), f"{action} takes its input by name: {', '.join(known.parameters)}")
        return
    for name in task.input:
        if name not in known.parameters:
            hint = did_you_mean(get_close_matches(name, known.parameters, 1)) or f"; it takes {', '.join(known.parameters)}"
            findings.of_task(task, ("input", name), f"{action} has no parameter {name}{hint}")
    missing = [name for name in known.required if name not in task.input]
    if missing:
        findings.of_task(task, ("input",), f"{action} needs {' and '.join(missing)}")
    for name in known.fixed:
        value = task.input.get(name)
        if value is None and name not in known.required:
            continue
        if name in task.input and (not isinstance(value, str) or "{{" in value):
            findings.of_task(task, ("input", name), _FIXED[name])
        elif isinstance(value, str) and name != "statement" and not _NAME.fullmatch(value):
            findings.of_task(task, ("input", name), "here stands a name that the operator has given, at most 64 letters, digits and . _ -")
    statement = task.input.get("statement")
    if action == "wf.sql" and isinstance(statement, str) and "{{" not in statement and (fault := fault_of_statement(statement)):
        findings.of_task(task, ("input", "statement"), fault)


_FIXED = {
    "statement": "a statement is one text without {{ }}: write :name in it, and give the value in parameters",
    "database": "a database is named by a text without {{ }}: no run may choose it",
    "credentials": "credentials are named by a text without {{ }}: no run may choose them",
    "secret": "a secret is named by a text without {{ }}: no run may choose it",
}
