"""Which events start a workflow: a filter over the event, and the input and key that are made of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from functools import lru_cache
from typing import Any

from wfcelery.definition.document import Definition, TriggerSpec
from wfcelery.definition.expressions import Expression, Template
from wfcelery.definition.findings import Findings, Path, did_you_mean
from wfcelery.errors import ExpressionError

SEEN = ("id", "name", "key", "data", "actor", "role")  # what an expression sees of an event


@dataclass(frozen=True, slots=True)
class Trigger:
    """One compiled trigger."""

    when: Expression | None
    input: Template
    key: Template | None

    def answer(self, event: Mapping[str, Any]) -> tuple[dict[str, Any], Any] | None:
        """The input and the key of the run that this event starts, in stored form; None: it starts none. Raises ExpressionError."""
        scope = {"event": event}
        if self.when is not None and not self.when.holds(scope):
            return None
        return dict(self.input.render(scope)), None if self.key is None else self.key.render(scope)


@lru_cache(maxsize=1_024)
def compiled(text: str) -> Trigger:
    """The trigger of a stored spec."""
    spec = TriggerSpec.model_validate_json(text)
    key = None if spec.key is None else Template.parse(spec.key)
    return Trigger(None if spec.when is None else Expression.parse(spec.when), Template.parse(spec.input), key)


def check_triggers(definition: Definition, findings: Findings) -> None:
    """Everything wrong with the triggers of a definition."""
    for number, spec in enumerate(definition.triggers):
        path: Path = ("triggers", number)
        for name in spec.input:
            if name not in definition.parameters:
                near = get_close_matches(name, definition.parameters, 1)
                findings.add((*path, "input", name), f"{definition.name} has no parameter {name!r}{did_you_mean(near)}")
        for name, parameter in definition.parameters.items():
            if parameter.required and name not in spec.input:
                findings.add((*path, "input"), f"it gives nothing for {name}, which {definition.name} requires")
        _check_expressions((*path, "when"), spec.when, findings, whole=True)
        _check_expressions((*path, "key"), spec.key, findings)
        for name, value in spec.input.items():
            _check_expressions((*path, "input", name), value, findings)


def _check_expressions(path: Path, value: Any, findings: Findings, whole: bool = False) -> None:
    if value is None:
        return
    try:
        expressions = (Expression.parse(value),) if whole else Template.parse(value).expressions
    except ExpressionError as error:
        findings.add(path, str(error))
        return
    for expression in expressions:
        for reference in sorted(expression.paths, key=str):
            if reference[0] != "event":
                findings.add(path, f"{{{{ {expression.source} }}}}: a trigger looks at event alone, there is no {reference[0]} yet")
            elif len(reference) > 1 and reference[1] not in SEEN:
                near = get_close_matches(str(reference[1]), SEEN, 1)
                findings.add(path, f"{{{{ {expression.source} }}}}: an event has no {reference[1]!r}{did_you_mean(near)}")
