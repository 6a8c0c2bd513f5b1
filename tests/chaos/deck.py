"""The faults, by the names under which they are counted."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from random import Random

from tests.chaos import breaking, forging, killing, links, queues
from tests.chaos.nemesis import Nemesis
from tests.chaos.stack import Stack

Fault = Callable[[Nemesis, Random], int]

EVERYWHERE: Mapping[str, Fault] = {
    "child_kill": killing.child,
    "main_kill": killing.main,
    "group_kill": killing.group,
    "stall": killing.stall,
    "rolling_restart": killing.rolling,
    "client_kill": killing.client,
    "deploy": forging.deploy,
}
PRODUCTION: Mapping[str, Fault] = {
    "no_beat": killing.no_beat,
    "three_beats": killing.three_beats,
    "database_restart": breaking.fast_restart,
    "database_crash": breaking.immediate_restart,
    "terminated_backends": breaking.backends,
    "locked_run": breaking.locked_run,
    "cut_commits": breaking.cuts,
    "black_hole": links.black_hole,
    "slow_links": links.slow_links,
    "half_open": links.half_open,
    "idle_session": links.idle_session,
    "crowded_database": links.crowded,
    "flush": breaking.flush,
    "redis_kill": breaking.redis_kill,
    "redis_freeze": breaking.redis_freeze,
    "redis_full": breaking.redis_full,
    "redis_wiped": queues.wiped,
    "reordered_messages": queues.reordered,
    "delayed_messages": queues.delayed,
    "bad_messages": forging.bad,
    "forged_messages": forging.forged,
    "repeated_messages": forging.repeated,
    "oversize_messages": forging.oversize,
    "newer_messages": forging.newer,
}
RABBIT: Mapping[str, Fault] = {"rabbit_kill": breaking.rabbit_kill, "rabbit_freeze": breaking.rabbit_freeze}
EMBEDDED: Mapping[str, Fault] = {"locked_file": breaking.locked_file}


def deck_of(stack: Stack) -> Mapping[str, Fault]:
    """The faults that this set-up knows."""
    if not stack.production:
        return {**EVERYWHERE, **EMBEDDED}
    return {**EVERYWHERE, **PRODUCTION, **(RABBIT if stack.rabbit is not None else {})}
