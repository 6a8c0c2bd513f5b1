"""What each workflow of the catalogue comes to: how it is started, what the world does meanwhile, and how it ends."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.acceptance.eventually import eventually
from tests.acceptance.processes import Fleet


def _nothing(_: Fleet, __: str) -> None:
    """The world does nothing."""


def finance_approves(fleet: Fleet, run: str) -> None:
    asked(fleet, run)
    fleet.shell(
        f"from wfcelery import approve\nstr(approve({run!r}, 'approve', actor='eve', roles=['finance'], form={{'account': '4711'}}))"
    )


def finance_rejects(fleet: Fleet, run: str) -> None:
    asked(fleet, run)
    fleet.shell(f"from wfcelery import reject\nstr(reject({run!r}, 'approve', actor='eve', roles=['finance'], comment='no receipt'))")


def asked(fleet: Fleet, run: str) -> None:
    """Wait until somebody is asked."""
    eventually(
        lambda: fleet.status(run) == "waiting",
        what="somebody is asked",
        explain=lambda: fleet.run("runs", "show", run) + "\n".join(fleet.logs().values()),
    )


def a_click(fleet: Fleet, _: str) -> None:
    fleet.shell("from wfcelery import send_event\nstr(send_event('confirmed', 'by phone', key='31'))")


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
    "a small expense": Case("reimburse", {"expense": {"id": 21, "by": "Ada", "amount": 99}}, "R-21"),
    "a large expense": Case("reimburse", {"expense": {"id": 22, "by": "Ada", "amount": 101}}, "R-22", world=finance_approves),
    "an expense that is refused": Case("reimburse", {"expense": {"id": 23, "by": "Bob", "amount": 102}}, None, world=finance_rejects),
    "a sign-up": Case("sign_up", {"member": 31}, "account 31, by phone", world=a_click),
    "a sign-up that nobody confirms": Case("sign_up", {"member": 32, "patience": "0.2s"}, "32 is forgotten"),
    "a shelf of videos": Case("shelf", {"files": ["one", "broken", "three"]}, ["one@480, one@1080: 3 s", "three@480, three@1080: 5 s"]),
    "a meter": Case("watch_meter", {"meter": "gas", "until": 9, "pause": "0.05s"}, 9),
    "a trip": Case("travel", {"trip": 41, "city": "Rome"}, "trip 41: flight in Rome, room in Rome, car in Rome"),
    "a trip that is given back": Case("travel", {"trip": 42, "city": "nowhere"}, error="there is no car in nowhere"),
    "a certificate": Case("certify", {"host": "example.com"}, "example.com after 3"),
    "salaries": Case("pay_salaries", {"people": PEOPLE, "month": "may"}, [f"R-{number}-may" for number in (1, 2, 4, 5)]),
}
