"""What a shop talks to: a stock room, a payment gateway, a carrier. Each does the same thing once for the same key.

What was done is a line in a ledger: the file that `SHOP_LEDGER` names, shared by all processes, else this process's
memory. So whoever wonders what a crash repeated can count.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from fcntl import LOCK_EX, flock
from pathlib import Path
from typing import Any

_memory: list[dict[str, Any]] = []

CARD_LIMIT = Decimal(10_000)


class GatewayBusyError(Exception):
    """Try again later."""


class CardRefusedError(Exception):
    """There is no point in trying again."""


class OutOfStockError(Exception):
    """Nobody orders a thousand of them."""


def take_from_stock(sku: str, quantity: int, key: str) -> str:
    """Set goods aside; the warehouse they wait in."""
    if quantity > 1_000:
        raise OutOfStockError(f"{quantity} of {sku} are not in stock")
    return str(_once("reserve", key, {"sku": sku, "quantity": quantity, "answer": f"W{len(sku) % 3 + 1}"}))


def take_money(order_id: int, amount: Decimal, key: str, attempt: int, card: str) -> str:
    """Charge a card; the gateway's reference. The card `busy` works from the second attempt on, the card `refused` never."""
    if card == "busy" and attempt == 1:
        raise GatewayBusyError("the gateway is busy")
    if card == "refused" or amount > CARD_LIMIT:
        raise CardRefusedError(f"the card is refused for {amount}")
    return str(_once("charge", key, {"order": order_id, "amount": str(amount), "answer": f"R-{order_id}-{key[:8]}"}))


def print_label(sku: str, size: str, key: str) -> str:
    """Make a shipping label; where it is."""
    if sku.startswith("?"):
        raise ValueError(f"no label can be made for {sku}")
    return str(_once("label", key, {"sku": sku, "answer": f"labels/{sku}-{size}.pdf"}))


def hand_over(order_id: int, labels: int, key: str) -> str:
    """Give a parcel to the carrier; its code."""
    return str(_once("ship", key, {"order": order_id, "labels": labels, "answer": f"P{order_id:06d}"}))


def send_mail(order_id: int, text: str, key: str) -> None:
    """Write to the customer."""
    _once("mail", key, {"order": order_id, "text": text, "answer": "sent"})


def ledger() -> list[dict[str, Any]]:
    """All that was ever done, in order."""
    path = os.environ.get("SHOP_LEDGER")
    if path is None:
        return list(_memory)
    return [json.loads(line) for line in Path(path).read_text().splitlines()] if Path(path).exists() else []


def _once(what: str, key: str, entry: dict[str, Any]) -> Any:
    """Write a line, unless this was done under this key before; then the answer of that time."""
    with _alone():
        for done in ledger():
            if (done["what"], done["key"]) == (what, key):
                return done["answer"]
        _append({"what": what, "key": key, **entry})
    return entry["answer"]


@contextmanager
def _alone() -> Iterator[None]:
    path = os.environ.get("SHOP_LEDGER")
    if path is None:
        yield
        return
    with Path(f"{path}.lock").open("a") as lock:
        flock(lock, LOCK_EX)
        yield


def _append(entry: dict[str, Any]) -> None:
    path = os.environ.get("SHOP_LEDGER")
    if path is None:
        _memory.append(entry)
        return
    with Path(path).open("a") as file:
        file.write(json.dumps(entry) + "\n")
