"""A definition in its one form, and its signature: what two spellings of the same workflow have in common."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from hashlib import sha256
from typing import Any

from wfcelery.definition.bodies import embedded, embeds
from wfcelery.definition.document import TRANSITIONS, After, Branch, Definition, Parameter, Task
from wfcelery.definition.edges import Way, counted, on_error_of, usual_on_error, ways_of
from wfcelery.definition.expressions import bare
from wfcelery.definition.fields import RetrySpec
from wfcelery.definition.forms import NAME
from wfcelery.definition.redaction import of_schema, text_of

__all__ = ["After", "Branch", "Definition", "Parameter", "RetrySpec", "Task", "canonical", "canonical_json", "signature"]

# What people read, and what the edges, the blocks and the workflow's defaults say in another way.
_NOT_SIGNED = frozenset(
    {"label", "description", "after", "needs", "when_reached", "decision", "args", "input", "on_error", "tasks", *TRANSITIONS}
)


def canonical(definition: Definition) -> dict[str, Any]:
    """The definition as JSON-able data without what goes without saying, and without its schedules, which live in rows of their own."""
    return definition.model_dump(mode="json", by_alias=True, exclude_defaults=True, exclude={"schedules"})


def canonical_json(definition: Definition) -> str:
    """The same as text: the body that is stored."""
    return _text(canonical(definition))


def signature(definition: Definition) -> str:
    """sha256 over everything that can change what a run does.

    Labels, descriptions, the order of the tasks and the end at which an edge is written do not change
    it; of a parameter its name, simple type, default and whether it is required are signed.
    """
    document = {
        "name": definition.name,
        "version": definition.version,
        "parameters": {name: _parameter(parameter) for name, parameter in definition.parameters.items()},
        "vars": _tidy(definition.vars),
        "tasks": _tasks(definition),
        "edges": _edges(definition),
        "output": _tidy(definition.output),
        "timeout": definition.timeout,
        "tags": list(definition.tags),
        **_ends(definition),
    }
    if definition.concurrency is not None:
        document["concurrency"] = definition.concurrency.model_dump(mode="json")
    if definition.triggers:
        document["triggers"] = [spec.model_dump(mode="json", exclude_defaults=True) for spec in definition.triggers]
    return sha256(_text(document).encode("utf-8")).hexdigest()


def _ends(definition: Definition) -> dict[str, Any]:
    """What is done before a run ends, where anything is."""
    said: dict[str, Any] = {}
    if any(task.compensate is not None for task, _ in definition.every_task()):
        said["on_error"] = usual_on_error(definition)
    hooks = definition.hooks.model_dump(mode="json", exclude_defaults=True)
    return said | ({"hooks": _tidy(hooks)} if hooks else {})


def _parameter(parameter: Parameter) -> dict[str, Any]:
    said: dict[str, Any] = {"required": parameter.required, "default": parameter.default}
    secret = sorted(map(text_of, of_schema(parameter.json_schema)))
    if secret:  # so that a field that has become secret is so for the runs that are started from then on
        said["secret"] = secret
    return {**said, "type": parameter.type} if isinstance(parameter.type, str) else said


def _tasks(definition: Definition) -> list[dict[str, Any]]:
    on_error = on_error_of(definition)
    signed = []
    for task, block in definition.every_task():
        said = task.model_dump(mode="json", exclude_defaults=True, exclude=set(_NOT_SIGNED))
        if task.retry is not None:
            said["retry"] = task.retry.model_dump(mode="json")
        said |= {"name": task.name, "type": task.type, "on_error": on_error[task.name], "input": task.arguments}
        if task.form is not None and NAME in task.form:  # what the model asks for says the code
            said["form"] = {NAME: task.form[NAME]}
        if said.get("join") == "all":
            del said["join"]
        if block is not None:
            said["block"] = block.name
        if embeds(task):
            said["body"] = signature(embedded(definition, task))
            said.pop("output", None)
        if task.decision:
            said["decision"] = [None if branch.default else branch.when for branch in task.decision]
        signed.append(_tidy(said))
    return sorted(signed, key=lambda said: str(said["name"]))


def _edges(definition: Definition) -> list[list[Any]]:
    inbound: dict[str, list[Way]] = {}
    for way in ways_of(definition):
        inbound.setdefault(way.target, []).append(way)
    joins = {task.name for task, _ in definition.every_task() if isinstance(task.join, int)}
    signed = []
    for target, ways in inbound.items():
        counts = counted(ways) if target.removesuffix(":fork") in joins else set()
        for way in ways:
            required = None if way.required is None else sorted(way.required)
            signed.append([way.source, target, required, sorted(way.transition), sorted(way.branches), way.source in counts])
    return sorted(signed, key=lambda edge: (edge[0], edge[1]))


_SPACED = re.compile(r"\{\{")


def _tidy(value: Any) -> Any:
    """A value in which `{{x}}` and `{{ x }}` are the same."""
    if isinstance(value, str) and _SPACED.match(value.strip()):
        inner = bare(value)
        return value if inner == value.strip() else f"{{{{ {inner} }}}}"
    if isinstance(value, Mapping):
        return {key: _tidy(item) for key, item in value.items()}
    return [_tidy(item) for item in value] if isinstance(value, list) else value


def _text(document: Any) -> str:
    return json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
