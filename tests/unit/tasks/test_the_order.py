"""The steps of the order fulfilment as plain functions."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest

from tasks import orders, shop
from wfcelery import GiveUp


@pytest.fixture(autouse=True)
def ledger_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHOP_LEDGER", str(tmp_path / "ledger"))


def test_a_step_is_an_ordinary_function_too() -> None:
    stock = orders.reserve.fn("mug", 2)
    paid = orders.charge.fn(7, Decimal("12.50"), "good")
    printed = orders.label.fn(orders.Line(sku="mug", quantity=2), "A6")
    parcel = orders.ship.fn(7, paid, [printed])

    assert stock.warehouse == "W1"
    assert paid.amount == Decimal("12.50")
    assert printed.url == "labels/mug-A6.pdf"
    assert parcel == orders.Parcel(code="P000007", labels=1)
    assert [done["what"] for done in shop.ledger()] == ["reserve", "charge", "label", "ship"]


def test_a_charge_under_the_same_key_is_made_once_and_answered_twice() -> None:
    first = shop.take_money(7, Decimal(900), "key", 1, "good")
    second = shop.take_money(7, Decimal(900), "key", 2, "good")

    assert first == second
    assert len(shop.ledger()) == 1


def test_a_busy_gateway_works_from_the_second_attempt_on() -> None:
    with pytest.raises(shop.GatewayBusyError):
        shop.take_money(7, Decimal(900), "key", 1, "busy")

    assert shop.take_money(7, Decimal(900), "key", 2, "busy") == "R-7-key"


@pytest.mark.parametrize(("amount", "card"), [(Decimal(20), "refused"), (Decimal(10_001), "good")], ids=["card", "limit"])
def test_a_refused_card_is_given_up_at_once(amount: Decimal, card: str) -> None:
    with pytest.raises(GiveUp, match="the card is refused"):
        orders.charge.fn(7, amount, card)

    assert shop.ledger() == []


def test_without_a_ledger_file_the_process_remembers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SHOP_LEDGER")
    monkeypatch.setattr(shop, "_memory", [])

    shop.hand_over(9, 3, "key")
    shop.hand_over(9, 3, "key")

    assert [done["answer"] for done in shop.ledger()] == ["P000009"]
