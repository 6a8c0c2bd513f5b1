"""Definitions over deploys: a start stores what it starts with; YAML is published; runs keep their graph."""

from __future__ import annotations

import difflib
import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wfcelery.authoring.decorators import Bound
from wfcelery.authoring.registry import registry
from wfcelery.authoring.yaml import load_yaml_file
from wfcelery.definition.compile import compile_plan
from wfcelery.definition.findings import Problem
from wfcelery.definition.inputs import check_input
from wfcelery.definition.model import Definition, canonical_json, signature
from wfcelery.definition.problems import problems
from wfcelery.definition.spans import seconds
from wfcelery.definition.values import decode, encode
from wfcelery.errors import DefinitionProblems, NotAllowedNow, NotFound
from wfcelery.service.context import Context
from wfcelery.store import definitions as stored
from wfcelery.store.database import Tx

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Published:
    """What publishing one definition came to."""

    name: str
    version: str
    revision: int
    signature: str
    new: bool


def of_bound(context: Context, bound: Bound[Any], tx: Tx | None) -> tuple[str, str, dict[str, Any]]:
    """The starter's own graph: (signature, name, stored input); stores the definition if it is new."""
    definition = bound.definition
    return launched(context, definition, tx), definition.name, dict(bound.input)


def by_name(context: Context, name: str, given: Mapping[str, Any], tx: Tx | None) -> tuple[str, str, dict[str, Any]]:
    """The newest definition first stored under this name; where none is, the one this process's code has."""
    if tx is not None:
        newest = stored.newest(tx, name)
    else:
        with context.transaction() as own:
            newest = stored.newest(own, name)
    known = registry.find_workflow(name)
    if newest is None:
        if known is None:
            raise NotFound("workflow", name, _near(context, name, tx))
        valid = known.validate_input(given)  # before anything is stored
        return launched(context, known.definition, tx), name, valid
    if known is not None and _signature_of(known.definition) == newest.signature:
        return newest.signature, name, known.validate_input(given)
    definition = Definition.model_validate_json(newest.body)
    return newest.signature, name, check_input(definition, {key: encode(value) for key, value in given.items()})


def of_name(context: Context, name: str) -> tuple[Definition, bool]:
    """The newest definition first stored under this name, or this process's own, and whether it is stored. Raises NotFound."""
    with context.transaction() as tx:
        newest = stored.newest(tx, name)
    if newest is not None:
        return Definition.model_validate_json(newest.body), True
    known = registry.find_workflow(name)
    if known is None:
        raise NotFound("workflow", name, _near(context, name, None))
    return known.definition, False


def launched(context: Context, definition: Definition, tx: Tx | None) -> str:
    """The signature of a definition that a run begins with, stored; raises NotAllowedNow for a draft and for what is archived.

    Looked up once per process and signature, like what is stored.
    """
    looked_up = _signature_of(definition) in context.stored
    kept = store(context, definition, tx)
    if looked_up or kept.new:
        return kept.signature
    if tx is not None:
        found = stored.by_signature(tx, kept.signature)
    else:
        with context.transaction() as own:
            found = stored.by_signature(own, kept.signature)
    if found is not None and found.status != "published":
        context.stored.pop(kept.signature, None)
        what = "a draft" if found.status == "draft" else found.status
        raise NotAllowedNow(f"{definition.name} version {definition.version} is {what}: no run can begin with it", found.status)
    return kept.signature


_signatures: dict[int, tuple[Definition, str]] = {}


def _signature_of(definition: Definition) -> str:
    """A definition's signature, computed once for each object: a start must not hash the same graph again."""
    found = _signatures.get(id(definition))
    if found is None or found[0] is not definition:
        found = _signatures[id(definition)] = (definition, signature(definition))
    return found[1]


def store(context: Context, definition: Definition, tx: Tx | None = None) -> Published:
    """Make sure that a definition is stored, once per process and signature.

    On a connection of our own, so that one request never waits for another's commit; SQLite has one writer,
    so there it is the caller's transaction.
    """
    found = _signature_of(definition)
    known: Published | None = context.stored.get(found)
    if known is not None:
        return known
    _refuse(definition)
    if tx is not None:
        return _store(context, tx, definition, found)
    with context.transaction() as own:
        published = _store(context, own, definition, found)
    context.stored[found] = published
    return published


def _store(context: Context, tx: Tx, definition: Definition, found: str) -> Published:
    body = canonical_json(definition)
    kept = stored.store(tx, found, definition.name, definition.version, body, strict=context.settings.strict_versions)
    if kept.new and kept.revision > 1:
        log.warning(
            "workflow %s: version %s has another body than before; it is revision %d", definition.name, definition.version, kept.revision
        )
    return Published(definition.name, definition.version, kept.revision, found, kept.new)


def _refuse(definition: Definition) -> None:
    faults = [fault for fault in problems(definition) if fault.severity == "error"]
    if faults:
        raise DefinitionProblems(definition.name, faults)
    compile_plan(definition)


def read_files(paths: Iterable[Path]) -> list[Definition]:
    """The definitions of YAML files and folders. Raises DefinitionProblems with everything wrong in all of them."""
    faults: list[Any] = []
    found: list[Definition] = []
    files = [file for path in paths for file in (sorted(path.rglob("*.y*ml")) if path.is_dir() else [path])]
    for file in files:
        try:
            found.append(load_yaml_file(file))
        except DefinitionProblems as wrong:
            faults.extend(wrong.problems)
        except OSError as problem:
            faults.append(Problem("", None, f"it cannot be read: {problem.strerror or type(problem).__name__}", file=str(file)))
    if faults:
        raise DefinitionProblems(", ".join(str(file) for file in files), faults)
    return found


def check_code(context: Context | None) -> list[str]:
    """Everything wrong with the workflows this process knows; with a database, also labels whose body has changed."""
    wrong: list[str] = []
    for workflow in registry.workflows():
        try:
            definition = workflow.definition
            wrong += [f"{workflow.name}: {fault}" for fault in problems(definition) if fault.severity == "error"]
        except (DefinitionProblems, TypeError, ValueError) as problem:
            wrong.append(f"{workflow.name}: {problem}")
            continue
        if context is not None:
            with context.transaction() as tx:
                label = stored.of_label(tx, definition.name, definition.version)
            if label is not None and label.signature != _signature_of(definition):
                wrong.append(f"{workflow.name}: version {definition.version} is stored with another body; give it a new version")
    return wrong


def listed(context: Context) -> Sequence[stored.StoredDefinition]:
    """Every stored definition, newest first."""
    with context.transaction() as tx:
        return stored.listed(tx)


def shown(context: Context, name: str) -> stored.StoredDefinition:
    """The newest definition of a name, or the one of a signature's beginning. Raises NotFound."""
    with context.transaction() as tx:
        found = stored.newest(tx, name) or stored.by_signature(tx, name)
    if found is None:
        raise NotFound("definition", name, _near(context, name, None))
    return found


def own_key(what: Bound[Any] | str) -> str | None:
    """The key that a workflow's own `key=` makes of its input."""
    return what.key if isinstance(what, Bound) else None


def own_tags(what: Bound[Any] | str) -> list[str]:
    """The tags a workflow gives to all its runs."""
    return list(what.definition.tags) if isinstance(what, Bound) else []


def own_timeout(what: Bound[Any] | str) -> float | None:
    """The deadline a workflow gives to all its runs, in seconds from their start."""
    if isinstance(what, Bound) and what.definition.timeout is not None:
        return seconds(what.definition.timeout)
    return None


def revive(name: str, value: Any) -> Any:
    """A run's result as its workflow's annotation says, where this process knows the workflow."""
    known = registry.find_workflow(name)
    return decode(value) if known is None else known.read_result(value)


def _near(context: Context, name: str, tx: Tx | None) -> list[str]:
    if tx is not None:
        names = stored.names(tx)
    else:
        with context.transaction() as own:
            names = stored.names(own)
    return difflib.get_close_matches(name, {*names, *(workflow.name for workflow in registry.workflows())}, 2)
