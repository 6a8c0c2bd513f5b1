"""The data of a run as people read it: without what its definition calls secret. Programs that replay a run read the rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from wfcelery.core.rows import NO_ITEM
from wfcelery.definition.model import Definition
from wfcelery.definition.redaction import Path, redacted
from wfcelery.definition.secrecy import NOTHING, Secrecy, secrecy_of
from wfcelery.definition.values import is_kept_back, mark_of
from wfcelery.errors import NotFound
from wfcelery.service.context import Context
from wfcelery.service.views import View
from wfcelery.store import definitions, values

UNREADABLE = "(cannot be read here)"


class StepValuesView(View):
    """What a step or item was given and came to; None where there is nothing yet."""

    name: str
    item: int | None = None
    input: Any = None
    output: Any = None


class ValuesView(View):
    """What a run was given, and what it has made of it. Secret places are `***`."""

    run: str
    input: Any = None
    variables: Mapping[str, Any]
    output: Any = None
    steps: Sequence[StepValuesView]


def values_of(context: Context, run: UUID, *, steps: bool = True) -> ValuesView:
    """The data of one run, redacted; without its steps where these are not asked for. Raises NotFound."""
    with context.transaction() as tx:
        found = values.values_of(tx, run, steps=steps)
        body = None if found is None else definitions.load_body(tx, found.definition)
    if found is None:
        raise NotFound("run", str(run))
    known = secrecy_of(Definition.model_validate_json(body)) if body is not None else Secrecy()
    return ValuesView(
        run=str(run),
        input=_of_names(found.input, known.parameters),
        variables=_of_names(found.variables or {}, known.variables),
        output=_shown(found.output, known.output),
        steps=[_step(each, known) for each in found.steps],
    )


def output_of(context: Context, run: UUID) -> Any:
    """The result of a run as people read it."""
    return values_of(context, run, steps=False).output


def _step(found: values.StepValues, known: Secrecy) -> StepValuesView:
    if found.item == NO_ITEM:
        hidden = known.results.get(found.name, NOTHING)
        return StepValuesView(
            name=found.name, input=_shown(found.input, known.inputs.get(found.name, NOTHING)), output=_shown(found.output, hidden)
        )
    hidden = frozenset(path[1:] for path in known.results.get(found.name, NOTHING) if path)
    given = _shown(found.input, known.items.get(found.name, NOTHING))
    return StepValuesView(name=found.name, item=found.item, input=given, output=_shown(found.output, hidden))


def _of_names(stored: Any, hidden: Mapping[str, frozenset[Path]]) -> Any:
    return _shown(stored, frozenset((name, *path) for name, paths in hidden.items() for path in paths))


def _shown(stored: Any, hidden: frozenset[Path]) -> Any:
    return UNREADABLE if is_kept_back(stored) else _plain(redacted(stored, hidden))


def _plain(stored: Any) -> Any:
    """As JSON that people read: what is marked is what it stands for, a reference the place it leads to."""
    if isinstance(stored, list):
        return [_plain(each) for each in stored]
    if not isinstance(stored, Mapping):
        return stored
    mark = mark_of(stored)
    if mark is None:
        return {key: _plain(each) for key, each in stored.items()}
    if mark[0] in ("literal", "failed"):
        return _plain(mark[1])
    if mark[0] == "ref":
        return f"{{{{ {'.'.join(map(str, mark[1:]))} }}}}"
    return f"{{{{ secret.{mark[1]} }}}}" if mark[0] == "secret" else mark[1]
