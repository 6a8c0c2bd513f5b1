"""What one process works with: its database, the plans it has met, and the four ports to the world."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from uuid import UUID

from wfcelery.clock import monotonic
from wfcelery.definition.plan import Node, RetryPolicy
from wfcelery.engine.holding import Holds
from wfcelery.engine.plans import Plans
from wfcelery.engine.ports import Bell, Caller, Policy, Router, Slots
from wfcelery.settings import Settings
from wfcelery.store.database import Database

NO_POLICY = Policy()
MOST_PACES = 64


@dataclass(slots=True)
class Paces:
    """How many items of a fan-out this process takes at a time: what one message has learned serves the next."""

    _kept: OrderedDict[UUID, int] = field(default_factory=OrderedDict)

    def get(self, fan_out: UUID) -> int:
        """One, for a fan-out that this process has not met."""
        return self._kept.get(fan_out, 1)

    def met(self, step: UUID) -> bool:
        """Whether this is a fan-out of which this process has taken items: nobody claims it as a whole."""
        return step in self._kept

    def keep(self, fan_out: UUID, many: int) -> None:
        """Remember it, for the latest of them."""
        self._kept[fan_out] = many
        if len(self._kept) > MOST_PACES:
            self._kept.popitem(last=False)


@dataclass(slots=True)
class Runtime:
    """Everything the engine needs, given to each of its functions."""

    database: Database
    settings: Settings
    caller: Caller
    bell: Bell
    router: Router
    slots: Slots
    plans: Plans = field(default_factory=Plans)
    paces: Paces = field(default_factory=Paces)
    holds: Holds = field(init=False)

    def __post_init__(self) -> None:
        self.holds = Holds(self.database)

    def policy(self, node: Node) -> Policy:
        """What the code of this process says of a step."""
        return self.caller.policy(node.action) or NO_POLICY

    def retry(self, node: Node) -> RetryPolicy | None:
        """The retry policy of a step: the definition's, else the code's."""
        return node.retry or self.policy(node).retry

    def timeout(self, node: Node) -> float | None:
        """Seconds an attempt may take: the definition's word, else the code's."""
        policy = self.policy(node)
        given = node.timeout if node.timeout is not None else policy.timeout
        if given is None and policy.transactional:
            return self.settings.transactional_timeout
        return given


@dataclass(slots=True)
class Budget:
    """How long one message may carry on with the steps it makes ready."""

    seconds: float
    began: float = field(default_factory=monotonic)

    def left(self) -> bool:
        return monotonic() - self.began < self.seconds
