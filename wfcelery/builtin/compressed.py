"""An answer that came compressed: made whole piece by piece, so that a small one cannot become a large one unnoticed."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator

from wfcelery.builtin.failures import UnexpectedAnswer

ASKED_FOR = "gzip"
_GZIP = 16 + zlib.MAX_WBITS
_MORE = 65_536  # bytes that what cannot be made smaller may grow by


def plain(parts: Iterable[bytes], encoding: str, limit: int) -> bytes:
    """The bytes of an answer, of which there are at most `limit`, compressed or not. Raises UnexpectedAnswer.

    What has come is bounded, too: nothing at all can be packed into any number of bytes.
    """
    if encoding in ("", "identity"):
        return _joined(parts, limit, limit)
    if encoding not in ("gzip", "x-gzip"):
        raise UnexpectedAnswer("the answer is compressed in a way that was not asked for", "encoded")
    try:
        return _joined(_inflated(_bounded(parts, limit + _MORE, limit), limit), limit, limit)
    except zlib.error:
        raise UnexpectedAnswer("the answer says that it is gzip, and is none, or not all of it came", "encoded") from None


def _joined(parts: Iterable[bytes], most: int, limit: int) -> bytes:
    return b"".join(_bounded(parts, most, limit))


def _bounded(parts: Iterable[bytes], most: int, limit: int) -> Iterator[bytes]:
    for part in parts:
        most -= len(part)
        if most < 0:
            raise UnexpectedAnswer(f"the answer has more than {limit} bytes", "too_large")
        yield part


def _inflated(parts: Iterable[bytes], limit: int) -> Iterator[bytes]:
    """No piece is larger than one byte more than may be, so that a bomb is found before it is held in memory."""
    member, inside = zlib.decompressobj(_GZIP), False
    for part in parts:
        left = part
        while left:
            yield member.decompress(left, limit + 1)
            inside, left = not member.eof, member.unconsumed_tail
            if member.eof:  # one gzip file may follow another
                left, member = member.unused_data, zlib.decompressobj(_GZIP)
    if inside:
        raise zlib.error
