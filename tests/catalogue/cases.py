"""What each workflow of the catalogue comes to: how it is started, what the world does meanwhile, and how it ends."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.acceptance.processes import Fleet


def _nothing(_: Fleet, __: str) -> None:
    """The world does nothing."""


@dataclass(frozen=True)
class Case:
    """One run of a workflow of `tasks/`."""

    workflow: str
    input: Mapping[str, Any]
    output: Any = None
    error: str | None = None  # what the run's error says, of one that fails
    world: Callable[[Fleet, str], None] = field(default=_nothing)  # told the fleet and the run's id, once it has been started


ORDER = {"id": 7, "sku": "mug", "quantity": 2, "total": "12.50", "lines": [{"sku": "mug", "quantity": 2}, {"sku": "pen", "quantity": 1}]}
PEOPLE = [{"id": number, "salary": 100 * number, "paid": number == 3} for number in range(1, 6)]

CASES: Mapping[str, Case] = {
    "an order": Case("fulfil", {"order": {**ORDER, "card": "busy"}}, {"code": "P000007", "labels": 2}),
    "an order whose card is refused": Case("fulfil", {"order": {**ORDER, "id": 8, "card": "refused"}}, None),
    "a price list": Case("take_prices", {"text": "mug=2.50 pen=0.75 #=x cap=9 map=none"}, {"loaded": 2, "refused": 1, "total": "3.25"}),
    "a bad price list": Case("take_prices", {"text": "mug=a pen=1 cap=b map=2"}, error="a price is no number"),
    "a release": Case("release", {"service": "shop", "commit": "a1b2", "watch": "0.2s"}, "shop:a1b2 on 100 %"),
    "a release that is taken back": Case("release", {"service": "shop", "commit": "slow", "watch": "0s"}, error="shop:slow is not healthy"),
    "a release that is never tried": Case("release", {"service": "shop", "commit": "broken"}, error="tests of shop:broken failed"),
    "salaries": Case("pay_salaries", {"people": PEOPLE, "month": "may"}, [f"R-{number}-may" for number in (1, 2, 4, 5)]),
}
