"""Does everything hold that must? The invariants, put to runs as people name them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from uuid import UUID

from wfcelery.errors import NotFound
from wfcelery.service import runs
from wfcelery.service.context import Context
from wfcelery.service.invariants import NOTHING, Ledgers, problems, problems_of_all
from wfcelery.service.views import Verdict
from wfcelery.store.evidence import Evidence
from wfcelery.store.verifying import evidence_of

ACROSS = "*"  # stands for a run where all of them together are meant


def verify(context: Context, ids: Iterable[str] | None, ledgers: Ledgers = NOTHING) -> Iterator[Verdict]:
    """A verdict for each of these runs, or for all; with all, also what is wrong across them, if anything is.

    Each run is read at one moment, so a working fleet disturbs nothing. Raises NotFound for an id or key that leads
    to no run.
    """
    if ids is not None:
        for found in evidence_of(context.database, [id_of(context, one) for one in ids]):
            yield Verdict(run=str(found.run.id), problems=problems_of(found, ledgers))
        return
    across = False  # what comes from the pair without a run on
    for run, wrong in problems_of_all(context.database, ledgers):
        across = across or run is None
        about = f"run {run}: " if across and run is not None else ""
        said = [f"{problem.number} {problem.name}: {about}{problem.what}" for problem in wrong]
        if said or not across:
            yield Verdict(run=ACROSS if across else str(run), problems=said)


def problems_of(found: Evidence, ledgers: Ledgers = NOTHING) -> Sequence[str]:
    """Everything that is wrong with one run, in sentences; nothing, if the engine has kept its word."""
    return [str(problem) for problem in problems(found, ledgers)]


def id_of(context: Context, id_or_key: str) -> UUID:
    """The run that an id, the tail of one or a key leads to. Raises NotFound."""
    found = runs.find(context, id_or_key)
    if found is None:
        raise NotFound("run", id_or_key)
    return found.id
