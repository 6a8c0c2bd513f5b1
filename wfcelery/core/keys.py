"""Idempotency keys: stable over all attempts of a step, different for everything else."""

from __future__ import annotations

from hashlib import sha256
from uuid import UUID


def idempotency_key(organization_id: str, run: UUID, step: str, item: int, round_: int) -> str:
    """The key a step hands to whatever it calls outside; the attempt is not part of it."""
    return sha256(f"{organization_id}\n{run}\n{step}\n{item}\n{round_}".encode()).hexdigest()[:40]
