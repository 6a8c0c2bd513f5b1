"""Secrets, looked up just before a call: known to the attempt that needs them, and to nobody else."""

from __future__ import annotations

import os
import re
from dataclasses import replace
from functools import lru_cache
from typing import Protocol

from wfcelery.definition.secrets import cleaned, revealed
from wfcelery.engine.ports import Call, Outcome, Raised
from wfcelery.store.payloads import named

PREFIX = "WFCELERY_SECRET_"
_PLAIN = re.compile(r"[A-Za-z0-9]+")


class SecretProvider(Protocol):
    """What the setting `secrets` names: an object, or a class that is made without arguments."""

    def get(self, name: str, organization_id: str) -> str | None:
        """The secret of that name for that organization; None where there is none."""


class Unknown(Exception):  # noqa: N818  it says what is so
    """A secret that this worker cannot get. The message names it, and says nothing else."""


class Environment:
    """Secrets from the environment: `WFCELERY_SECRET_NAME__organization` where that is set, else `WFCELERY_SECRET_NAME`."""

    def get(self, name: str, organization_id: str) -> str | None:
        """An organization has variables of its own where its id is letters and digits alone: no other could be read as the same."""
        place = PREFIX + name.upper()
        own = os.environ.get(f"{place}__{organization_id}") if _PLAIN.fullmatch(organization_id) else None
        return os.environ.get(place) if own is None else own


@lru_cache(maxsize=16)
def provider(path: str | None) -> SecretProvider:
    """Who is asked. Raises Misconfigured."""
    found: SecretProvider = Environment() if path is None else named(path, "secrets")
    return found


def with_secrets(path: str | None, call: Call) -> Call:
    """The call with its secrets in place of their names. Raises `Unknown`."""
    found: list[str] = []

    def look_up(name: str) -> str:
        try:
            secret = provider(path).get(name, call.organization_id)
        except Exception as problem:
            raise Unknown(f"the secret {name!r} could not be looked up: the provider raised {type(problem).__name__}") from problem
        if secret is None:
            where = f"; it looks for {PREFIX}{name.upper()} in its environment" if path is None else ""
            raise Unknown(f"there is no secret {name!r} for this worker{where}")
        found.append(secret)
        return secret

    shown = revealed(call.input, look_up)
    return replace(call, input=shown, secrets=tuple(found))


def spared(outcome: Outcome, secrets: tuple[str, ...]) -> Outcome:
    """The outcome with nothing of these in what its error says."""
    if not secrets or not isinstance(outcome, Raised):
        return outcome
    error = {key: cleaned(said, secrets) if isinstance(said, str) else said for key, said in outcome.error.items()}
    return replace(outcome, error=error)
