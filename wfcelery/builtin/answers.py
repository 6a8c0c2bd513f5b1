"""An answer of a web server, and what it means: a result, a failure for good, or a failure for now."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from email.utils import parsedate_to_datetime
from typing import Any

from pydantic import BaseModel, ConfigDict, Field
from pydantic_core import from_json

from wfcelery.builtin.failures import HttpClientError, HttpServerBusy, HttpServerError, UnexpectedAnswer

KEPT = ("content-type", "etag", "last-modified", "link", "location", "x-request-id")
FOR_NOW = (408, 425, 429)
LONGEST_PAUSE = 86_400.0  # seconds: a server that says "next week" is asked tomorrow


class Answer(BaseModel):
    """What a server answered: `body` is what its JSON says, else its text, else its bytes; None where there was none."""

    model_config = ConfigDict(frozen=True)

    status: int
    headers: dict[str, str] = Field(default_factory=dict)
    body: Any = None


def is_result(status: int, expect: Collection[int] | None) -> bool:
    """Whether an answer with this status is what was asked for."""
    return status in expect if expect else 200 <= status < 300


def answer_of(status: int, headers: Mapping[str, str], content: bytes, expect: Collection[int] | None) -> Answer:
    """The answer as a step's result. `headers` have small letters. Raises where the status is none of `expect` (None: 2xx)."""
    if not is_result(status, expect):
        raise failure_of(status, headers)
    kept = {name: headers[name] for name in KEPT if name in headers}
    return Answer(status=status, headers=kept, body=_body(headers.get("content-type", ""), content))


def failure_of(status: int, headers: Mapping[str, str]) -> Exception:
    """What an unwelcome status means. What the server says of it is left out: it may quote what was sent."""
    code, said = str(status), f"the server answered {status}"
    if status in FOR_NOW or status >= 500:
        pause = _retry_after(headers)
        return HttpServerError(said, code) if pause is None else HttpServerBusy(pause, said, code)
    if 400 <= status < 500:
        return HttpClientError(said, code)
    if 300 <= status < 400:
        return UnexpectedAnswer(f"{said}: it wants the request elsewhere; write that address", code)
    return UnexpectedAnswer(f"{said}, which expect does not name", code)


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds. A moment counts from the answer's own Date, so that no clock of ours is asked."""
    said = headers.get("retry-after", "").strip()
    if said.isdecimal() and said.isascii():
        return min(float(said[:12]), LONGEST_PAUSE)
    try:
        pause = (parsedate_to_datetime(said) - parsedate_to_datetime(headers.get("date", ""))).total_seconds()
    except (TypeError, ValueError):
        return None
    return min(max(pause, 0.0), LONGEST_PAUSE)


def _body(kind: str, content: bytes) -> Any:
    if not content:
        return None
    media, _, rest = kind.lower().partition(";")
    media = media.strip()
    if media == "application/json" or media.endswith("+json"):
        try:
            return from_json(content, allow_inf_nan=False)
        except ValueError:
            raise UnexpectedAnswer("the answer says that it is JSON, and is none", "bad_json") from None
    charset = next((part.partition("=")[2].strip(' "') for part in rest.split(";") if part.strip().startswith("charset=")), "utf-8")
    if media.startswith("text/") or media.endswith(("/xml", "+xml")) or "charset=" in rest:
        try:
            return content.decode(charset)
        except (LookupError, UnicodeDecodeError):
            return content
    return content
