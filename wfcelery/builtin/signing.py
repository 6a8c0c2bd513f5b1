"""Signatures of webhooks as the Standard Webhooks specification has them, so that any receiver's library can check them."""

from __future__ import annotations

import base64
import hmac
from collections.abc import Iterable


def signed(key: str, moment: int, body: bytes, secrets: Iterable[str]) -> dict[str, str]:
    """The three headers of one delivery. `key` is the same for all its attempts, `moment` (Unix time, seconds) is the attempt's.

    Each of `secrets` (whsec_…) signs: while one is replaced, receivers that know either of them are served.
    """
    content = f"{key}.{moment}.".encode() + body
    signatures = [base64.b64encode(hmac.digest(_key(secret), content, "sha256")).decode() for secret in secrets]
    return {
        "webhook-id": key,
        "webhook-timestamp": str(moment),
        "webhook-signature": " ".join(f"v1,{signature}" for signature in signatures),
    }


def _key(secret: str) -> bytes:
    return base64.b64decode(secret.removeprefix("whsec_"))
