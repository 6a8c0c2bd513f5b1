"""Restate: its server, from npm, with a store of its own (a log that it syncs), and handlers in Python behind HTTP.

One server process of hypercorn with two workers. A fan-out's items are calls of a second service.
"""

from __future__ import annotations

import http.client
import json
import os
import sys
import time
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import Any

import restate as sdk
from restate import Context, Service

from benchmarks.sides.contract import CHAIN_LENGTH
from benchmarks.sides.peers.given import become, beside, folder, port, wait_for_port

ADMIN, INGRESS, NODE, HANDLERS = range(4)

runs, items = Service("runs"), Service("items")


def _add_one(value: int) -> int:
    return value + 1


def _spread(width: int) -> list[int]:
    return list(range(width))


def _clock() -> float:
    return time.time()


def _total(values: list[int]) -> int:
    return sum(values)


@items.handler()
async def one_item(context: Context, value: int) -> int:
    answer: int = await context.run_typed("add", _add_one, value=value)
    return answer


@runs.handler()
async def ten_in_a_row(context: Context, value: int) -> int:
    for place in range(CHAIN_LENGTH):
        value = await context.run_typed(f"add-{place}", _add_one, value=value)
    return value


@runs.handler()
async def out_and_in(context: Context, width: int) -> int:
    numbers = await context.run_typed("spread", _spread, width=width)
    asked = [context.service_call(one_item, arg=number) for number in numbers]
    await sdk.gather(*asked)
    values = [await item for item in asked]
    answer: int = await context.run_typed("total", _total, values=values)
    return answer


@runs.handler()
async def asleep(context: Context, seconds: float) -> list[float]:
    begun = await context.run_typed("begun", _clock)
    await context.sleep(timedelta(seconds=seconds))
    return [begun, await context.run_typed("woken", _clock)]


app = sdk.app(services=[runs, items])


def serve() -> None:
    os.environ |= {
        "RESTATE_ADMIN__BIND_ADDRESS": f"127.0.0.1:{port(ADMIN)}",
        "RESTATE_INGRESS__BIND_ADDRESS": f"127.0.0.1:{port(INGRESS)}",
        "RESTATE_BIND_ADDRESS": f"127.0.0.1:{port(NODE)}",
        "RESTATE_LISTEN_MODE": "tcp",
        "RESTATE_DISABLE_TELEMETRY": "true",
        "RESTATE_LOG_FILTER": "warn",
    }
    # The binary itself: npm's command is a process of Node around it.
    (server,) = Path(sys.prefix).glob("node/node_modules/@restatedev/restate-server-*/bin/restate-server")
    become(server, "--no-logo", "--node-name", "bench", "--base-dir", folder() / "store")


def prepare() -> None:
    for place in (ADMIN, INGRESS):
        wait_for_port(port(place))


def work() -> None:
    become(beside("hypercorn"), "--workers", "2", "--bind", f"127.0.0.1:{port(HANDLERS)}", "--log-level", "warning", f"{__name__}:app")


def _asked(place: int, method: str, path: str, body: Any = None, timeout: float = 60.0) -> Any:
    """One exchange over a connection that stays open."""
    connection = _connection(place)
    if connection.sock is not None:
        connection.sock.settimeout(timeout)
    connection.timeout = timeout
    connection.request(
        method, path, None if body is None else json.dumps(body), {"content-type": "application/json"} if body is not None else {}
    )
    response = connection.getresponse()
    told = response.read()
    if response.status >= 300:
        raise RuntimeError(f"{method} {path}: {response.status} {told.decode(errors='replace')}")
    return json.loads(told)


@cache
def _connection(place: int) -> http.client.HTTPConnection:
    return http.client.HTTPConnection("127.0.0.1", port(place))


@cache
def _registered() -> None:
    """The server has been told where the handlers are, once they are there."""
    wait_for_port(port(HANDLERS))
    _asked(ADMIN, "POST", "/deployments", {"uri": f"http://127.0.0.1:{port(HANDLERS)}"})


@dataclass(frozen=True, slots=True)
class Pending:
    invocation: str

    def result(self, timeout: float) -> Any:
        return _asked(INGRESS, "GET", f"/restate/invocation/{self.invocation}/attach", timeout=timeout)


def _start(handler: str, value: float) -> Pending:
    _registered()
    return Pending(_asked(INGRESS, "POST", f"/runs/{handler}/send", value)["invocationId"])


def start_chain(value: int) -> Pending:
    return _start("ten_in_a_row", value)


def start_fan(width: int) -> Pending:
    return _start("out_and_in", width)


def start_sleep(seconds: float) -> Pending:
    return _start("asleep", seconds)
