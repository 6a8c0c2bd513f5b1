"""What the tests of the command line run: a module with workflows and no Celery app."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, SecretStr

from wfcelery import GiveUp, Secret, current_step, step, workflow


class Session(BaseModel):
    user: str
    token: SecretStr


@step
def greet(name: str) -> str:
    return f"hello {name}"


@step
def shout(text: str) -> str:
    return text.upper()


@workflow
def greeting(name: str) -> str:
    return shout(greet(name))


@step
def sign_in(user: str, password: Annotated[str, Secret()]) -> Session:
    if user == "mallory":
        raise GiveUp(f"wrong password {password}")
    current_step().data.put("user", user)
    return Session(user=user, token=SecretStr(f"token-{password}"))


@workflow
def signing_in(user: str, password: Annotated[str, Secret()]) -> Session:
    return sign_in(user, password)


@step
def nap(seconds: float) -> int:
    deadline = time.monotonic() + seconds
    while current_step().attempt == 1 and time.monotonic() < deadline:
        current_step().check_cancelled()
        time.sleep(0.05)
    return current_step().attempt


@workflow
def napping(seconds: float) -> int:
    return nap(seconds)


@workflow
def many_naps(seconds: list[float]) -> list[int | None]:
    return nap.options(concurrency=1, commit="each").map(seconds)


@step(retry=None)
def healed(flag: str) -> str:
    if not Path(flag).exists():
        raise GiveUp("the flag is down")
    return "up"


@workflow
def healing(flag: str) -> str:
    return healed(flag)
