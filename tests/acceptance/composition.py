"""Steps for the tests of child workflows and loops."""

from __future__ import annotations

from typing import Any

from wfcelery import step


@step
def pay(order: int) -> int:
    return order


@step
def wrap(order: int) -> str:
    return f"parcel of {order}"


@step
def ship(parcel: str) -> str:
    return f"{parcel} is shipped"


@step
def apologise(order: int) -> None: ...


@step
def poll(shipment: str, number: int, before: dict[str, Any] | None) -> dict[str, Any]:
    return {"shipment": shipment, "done": number == 3, "rounds": number, "seen": (before or {}).get("rounds")}


@step
def tell(state: dict[str, Any]) -> str:
    return f"{state['shipment']} after {state['rounds']} rounds"
