"""Plans by signature: loaded once per process, compiled once per process."""

from __future__ import annotations

from collections import OrderedDict

from wfcelery.definition.compile import compile_plan
from wfcelery.definition.model import Definition
from wfcelery.definition.plan import Plan
from wfcelery.errors import NotFound
from wfcelery.store.database import Tx
from wfcelery.store.definitions import load_body

MOST = 256  # plans a process keeps; the one used longest ago goes first


class Plans:
    """The compiled definitions that a process has met."""

    def __init__(self) -> None:
        self._kept: OrderedDict[str, Plan] = OrderedDict()

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

    def keep(self, plan: Plan) -> None:
        """Remember a plan that was compiled elsewhere."""
        self._kept[plan.signature] = plan
        if len(self._kept) > MOST:
            self._kept.popitem(last=False)
