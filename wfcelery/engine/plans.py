"""Plans by signature: loaded once per process, compiled once per process."""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import replace

from wfcelery.core.decision import Ring, RingStep
from wfcelery.core.rows import Called
from wfcelery.definition.compile import compile_plan
from wfcelery.definition.model import Definition
from wfcelery.definition.plan import Plan
from wfcelery.errors import NotFound
from wfcelery.store.database import Tx
from wfcelery.store.definitions import load_body, newest_signature, of_runs

log = logging.getLogger(__name__)

MOST = 256  # plans a process keeps; the one used longest ago goes first


class Plans:
    """The compiled definitions that a process has met."""

    def __init__(self) -> None:
        self._kept: OrderedDict[str, Plan] = OrderedDict()
        self._called: OrderedDict[str, Called] = OrderedDict()

    def get(self, tx: Tx, signature: str) -> Plan:
        """The plan a run goes by. Raises NotFound where no row has this signature."""
        plan = self._kept.get(signature)
        if plan is None:
            body = load_body(tx, signature)
            if body is None:
                raise NotFound("definition", signature)
            plan = compile_plan(Definition.model_validate_json(body), signature)
            self.keep(plan)
        else:
            self._kept.move_to_end(signature)
        return plan

    def called(self, tx: Tx, name: str, signature: str | None) -> Called | None:
        """What a child run is to go by: the definition of a signature, or else the newest of a name that is published."""
        signature = signature or newest_signature(tx, name)
        if signature is None:
            return None
        if signature not in self._called:
            body = load_body(tx, signature)
            if body is None:
                return None
            self._called[signature] = Called(Definition.model_validate_json(body), signature)
            if len(self._called) > MOST:
                self._called.popitem(last=False)
        return self._called[signature]

    def keep(self, plan: Plan) -> None:
        """Remember a plan that was compiled elsewhere."""
        self._kept[plan.signature] = plan
        if len(self._kept) > MOST:
            self._kept.popitem(last=False)

    def with_tasks(self, tx: Tx, rings: Sequence[Ring]) -> list[Ring]:
        """Rings that name steps by their names in the graph, now by their authors' tasks: for Flower, routes and time limits.

        A step whose definition cannot be read is rung without a name: whoever takes it says what is wrong.
        """
        signatures = of_runs(tx, {ring.run for ring in rings if isinstance(ring, RingStep)})
        named: list[Ring] = []
        for ring in rings:
            named.append(replace(ring, name=self._task(tx, signatures[ring.run], ring.name)) if isinstance(ring, RingStep) else ring)
        return named

    def _task(self, tx: Tx, signature: str, step: str) -> str:
        try:
            return self.get(tx, signature).nodes[step].action
        except Exception:  # one swept item
            log.warning("the definition %s of step %s cannot be read", signature, step, exc_info=True)
            return ""
