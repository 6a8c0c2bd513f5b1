"""Retention: what ended long ago and what has expired is deleted, in small commits, beside the engine and never by it.

A run goes with all its rows, and with its whole tree of children or not at all. It stays while anything of the tree
is under way, is younger than the retention, has something in its inbox or an open dead letter. Its key goes with it.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from uuid import UUID

from wfcelery.clock import monotonic
from wfcelery.service.context import Context
from wfcelery.store import event_rows, expiring, idempotency, run_data
from wfcelery.store.database import Tx

log = logging.getLogger(__name__)

EVENTS = 1_000  # that one commit takes
ORPHANED = 3_600.0  # seconds for which the transaction of a start may be open
MOST_ELSEWHERE = 500  # values that one look deletes in another store
TREES = 50  # roots that one commit takes


@dataclass(frozen=True, slots=True)
class Expired:
    """What is gone. `more`: the time was over before everything was."""

    runs: int
    keys: int
    events: int = 0
    more: bool = False


def expire(context: Context, kept_for: float | None = None, within: float | None = None) -> Expired:
    """Delete what has expired: keys of `once`, what was kept beside a run for a time, consumed events, and runs that ended long ago.

    A run is kept for `kept_for` seconds after its end: for the setting `retention` where that is not given, for ever where it is 0. Ends
    after about `within` seconds.
    """
    kept_for = context.settings.retention if kept_for is None else kept_for
    began, gone, after, more = monotonic(), 0, UUID(int=0), False
    with context.transaction() as tx:
        keys = idempotency.purge(tx, 0.0) + run_data.purge(tx)
    with context.transaction() as tx:
        expiring.delete_orphans(tx, ORPHANED)
    _delete_elsewhere(context)
    consumed = _purge_events(context)
    while kept_for > 0:
        with context.transaction() as tx:
            found = expiring.roots(tx, kept_for, after, TREES)
            gone += _delete(tx, found, kept_for)
        if len(found) < TREES:
            break
        after, more = found[-1], within is not None and monotonic() - began > within
        if more:
            break
    if gone:
        _delete_elsewhere(context)
    if gone or keys or consumed:
        log.info("expired: %d runs that ended more than %g s ago, %d keys, %d consumed events", gone, kept_for, keys, consumed)
    return Expired(gone, keys, consumed, more)


def _purge_events(context: Context) -> int:
    """Events that were consumed long ago, in batches, each in a commit of its own."""
    gone = 0
    while True:
        with context.transaction() as tx:
            deleted = event_rows.purge(tx, context.settings.consumed_event_ttl, EVENTS)
        gone += deleted
        if deleted < EVENTS:
            return gone


def _delete(tx: Tx, roots: list[UUID], kept_for: float) -> int:
    """The whole trees of these roots, but of those of which anything is to stay."""
    if not roots:
        return 0
    root_of = {root: root for root in roots}
    generation = roots
    while generation:
        born = [(parent, child) for parent, child in expiring.children(tx, generation) if child not in root_of]
        root_of |= {child: root_of[parent] for parent, child in born}
        generation = [child for _, child in born]
    mine = expiring.lock(tx, list(root_of), kept_for)
    stays = {root for run, root in root_of.items() if run not in mine}
    gone = [run for run, root in root_of.items() if root not in stays]
    if gone:
        expiring.delete(tx, gone)
    return len(gone)


def _delete_elsewhere(context: Context) -> None:
    """Large values in another store that are nobody's: there first, then the rows by which they are found."""
    elsewhere = context.database.payloads.elsewhere
    if elsewhere is None:
        return
    with context.transaction() as tx:
        nobodys = expiring.orphans_elsewhere(tx, ORPHANED, MOST_ELSEWHERE)
    for payload in nobodys:
        elsewhere.delete(payload)
    if nobodys:
        with context.transaction() as tx:
            expiring.forget(tx, nobodys)
