"""Definitions over deploys: a start stores what it starts with; YAML is published; runs keep their graph."""

from __future__ import annotations

import difflib
import logging
from collections.abc import Iterable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from wfcelery.authoring.decorators import Bound
from wfcelery.authoring.gated_items import gated_items
from wfcelery.authoring.registry import registry
from wfcelery.authoring.yaml import load_yaml_file
from wfcelery.clock import monotonic
from wfcelery.definition.bodies import bodies_of, called_by
from wfcelery.definition.call_checks import Find, endless, never_ends
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
from wfcelery.store import triggers
from wfcelery.store.database import Tx

log = logging.getLogger(__name__)

LATEST = "latest"  # in place of a version: the newest definition first stored
LOOK_AGAIN = 5.0  # seconds after which a process asks again whether a definition may still start


@dataclass(frozen=True, slots=True)
class Published:
    """What publishing one definition came to."""

    name: str
    version: str
    revision: int
    signature: str
    new: bool
    status: str = "published"


def of_bound(context: Context, bound: Bound[Any], tx: Tx | None) -> tuple[str, str, dict[str, Any]]:
    """The starter's own graph: (signature, name, stored input); stores the definition if it is new."""
    definition = bound.definition
    return launched(context, definition, tx), definition.name, dict(bound.input)


def by_name(context: Context, name: str, given: Mapping[str, Any], tx: Tx | None, version: str = LATEST) -> tuple[str, str, dict[str, Any]]:
    """The newest definition first stored under this name, or the latest of a version; where none is, the one this process's code has."""
    with nullcontext(tx) if tx is not None else context.transaction() as looking:
        found = stored.newest(looking, name) if version == LATEST else stored.published_of_label(looking, name, version)
    known = registry.find_workflow(name)
    if found is None:
        if known is None or version not in (LATEST, known.definition.version):
            raise _unknown(context, name, version, tx)
        valid = known.validate_input(given)  # before anything is stored
        return launched(context, known.definition, tx), name, valid
    if known is not None and _signature_of(known.definition) == found.signature:  # no need to read it
        return found.signature, name, known.validate_input(given)
    return found.signature, name, input_of(Definition.model_validate_json(found.body), found.signature, given)


def input_of(definition: Definition, signature: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """The stored input of a run by this definition; `InvalidInput` tells everything wrong with it.

    Where this process knows the workflow's code, and its parameters are still those of the definition, its annotations count, so
    that "101" is a Decimal where one is wanted; elsewhere the JSON schema of the definition does, and a value stays what it is.
    """
    known = registry.find_workflow(definition.name)
    if known is not None and (_signature_of(known.definition) == signature or known.definition.parameters == definition.parameters):
        return known.validate_input(given)
    return check_input(definition, {name: encode(value) for name, value in given.items()})


def _unknown(context: Context, name: str, version: str, tx: Tx | None) -> NotFound:
    with nullcontext(tx) if tx is not None else context.transaction() as looking:
        known = stored.of_name(looking, name)
    if not known:
        return NotFound("workflow", name, near(context, name, tx))
    if version == LATEST:
        return NotFound("published definition of workflow", name)
    versions = dict.fromkeys(each.version for each in known if each.status == "published")
    return NotFound("published definition", f"{name}@{version}", [f"{name}@{near}" for near in list(versions)[:2]])


def of_name(context: Context, name: str) -> tuple[Definition, bool]:
    """The newest definition first stored under this name, or this process's own, and whether it is stored. Raises NotFound."""
    with context.transaction() as tx:
        newest = stored.newest(tx, name)
    if newest is not None:
        return Definition.model_validate_json(newest.body), True
    known = registry.find_workflow(name)
    if known is None:
        raise NotFound("workflow", name, near(context, name, None))
    return known.definition, False


def find(context: Context, name: str) -> Definition | None:
    """As `of_name`; None where there is none."""
    try:
        return of_name(context, name)[0]
    except NotFound:
        return None


def launched(context: Context, definition: Definition, tx: Tx | None) -> str:
    """The signature of a definition that a run begins with, stored; raises NotAllowedNow for a draft and for what is archived.

    That is looked up again after a few seconds, so that a process that runs for months notices what is archived meanwhile.
    """
    found = _signature_of(definition)
    known = context.stored.get(found)
    if known is not None and monotonic() - context.looked.get(found, -LOOK_AGAIN) < LOOK_AGAIN:
        return found
    kept = store(context, definition, tx)
    status = kept.status if known is None else _status_of(context, found, tx)
    if status != "published":
        context.stored.pop(found, None)
        what = "a draft" if status == "draft" else status
        raise NotAllowedNow(f"{definition.name} version {definition.version} is {what}: no run can begin with it", status)
    context.looked[found] = monotonic()
    return found


def _status_of(context: Context, signature: str, tx: Tx | None) -> str:
    with nullcontext(tx) if tx is not None else context.database.single() as looking:
        found = stored.by_signature(looking, signature)
    return "published" if found is None else found.status


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
    family = _family(definition)
    for each in family:
        _refuse(each)
    refuse_endless(definition, {each.name: each for each in family}.get)
    if tx is not None:
        return [store_in(context, tx, each, _signature_of(each)) for each in family][-1]
    with context.transaction() as own:
        published = [store_in(context, own, each, _signature_of(each)) for each in family][-1]
    context.stored[found] = published
    return published


def _family(definition: Definition) -> list[Definition]:
    """This process's own definitions of the workflows that this one calls, and that these call; itself as the last."""
    found, waiting = {definition.name: definition}, [definition]
    while waiting:
        for name in called_by(waiting.pop()):
            known = registry.find_workflow(name)
            if known is not None and name not in found:
                found[name] = known.definition
                waiting.append(known.definition)
    return list(found.values())[::-1]


def store_called(context: Context, definition: Definition) -> None:
    """Store what this process knows of the workflows that a definition calls: who runs it looks into the database alone."""
    for each in _family(definition)[:-1]:
        store(context, each)


def refuse_endless(definition: Definition, find: Find) -> None:
    """Raise DefinitionProblems where workflows call each other in a circle, whatever happens; `find` gives those that are known by now."""
    circle = endless(definition, {}, find)
    if circle:
        raise DefinitionProblems(definition.name, [Problem("tasks", None, never_ends(circle))])


def store_in(
    context: Context, tx: Tx, definition: Definition, found: str, status: Literal["published", "draft"] = "published"
) -> Published:
    """Store what has been checked, where it is not stored yet, to stand as `status`."""
    for inner in bodies_of(definition):
        stored.store(tx, signature(inner), inner.name, inner.version, canonical_json(inner))
    body, strict = canonical_json(definition), context.settings.strict_versions
    kept = stored.store(tx, found, definition.name, definition.version, body, strict=strict, status=status)
    if kept.new and definition.triggers:
        specs = [(spec.event, spec.model_dump_json(exclude_defaults=True)) for spec in definition.triggers]
        triggers.insert(tx, found, definition.name, specs)
    if kept.new and kept.revision > 1:
        log.warning(
            "workflow %s: version %s has another body than before; it is revision %d", definition.name, definition.version, kept.revision
        )
    return Published(definition.name, definition.version, kept.revision, found, kept.new, kept.status)


def store_triggered(context: Context) -> None:
    """Store the workflows of this process's code that events start: nobody else would before the first of them."""
    for workflow in registry.workflows():
        if workflow.definition.triggers:
            store(context, workflow.definition)


def checked_signature(definition: Definition) -> str:
    """The signature of a definition without a problem; raises DefinitionProblems with everything wrong with any other."""
    _refuse(definition)
    return _signature_of(definition)


def _refuse(definition: Definition) -> None:
    faults = _faults(definition)
    if faults:
        raise DefinitionProblems(definition.name, faults)
    compile_plan(definition)


def _faults(definition: Definition) -> list[Problem]:
    """What keeps a definition from being stored: in itself, and beside the code that this process has."""
    return [*(fault for fault in problems(definition) if fault.severity == "error"), *gated_items(definition)]


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
            wrong += [f"{workflow.name}: {fault}" for fault in _faults(definition)]
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


def near(context: Context, name: str, tx: Tx | None) -> list[str]:
    """Names that somebody may have meant."""
    if tx is not None:
        names = stored.names(tx)
    else:
        with context.transaction() as own:
            names = stored.names(own)
    return difflib.get_close_matches(name, {*names, *(workflow.name for workflow in registry.workflows())}, 2)
