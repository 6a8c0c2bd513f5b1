"""`3` or `80%`: how many of a fan-out's items."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

_PERCENTAGE = re.compile(r"(\d{1,3}(?:\.\d{1,6})?)\s*%")


@dataclass(frozen=True, slots=True)
class Share:
    """A number of items, or so many of a hundred: `percent` is exact, so that 29% of a hundred are 29."""

    number: int | None = None
    percent: Fraction | None = None

    @staticmethod
    def parse(said: int | str) -> Share:
        """What an author wrote; a ValueError says what can be written."""
        if isinstance(said, int) and not isinstance(said, bool) and said >= 0:
            return Share(number=said)
        found = _PERCENTAGE.fullmatch(said.strip()) if isinstance(said, str) else None
        percent = Fraction(found[1]) if found is not None else None
        if percent is None or percent > 100:
            raise ValueError(f"it is a whole number of items, or a percentage such as 80%, not {str(said)[:40]!r}")
        return Share(percent=percent)

    def at_least(self, items: int) -> int:
        """How many of so many items are needed: a part of an item is a whole one."""
        return self.number if self.number is not None else -int(-self._part(items) // 1)

    def at_most(self, items: int) -> int:
        """How many of so many items are allowed: a part of an item is none."""
        return self.number if self.number is not None else int(self._part(items) // 1)

    def _part(self, items: int) -> Fraction:
        assert self.percent is not None
        return self.percent * items / 100


def written(said: Any) -> Any:
    """The one form in which a definition keeps a share: a number, or a percentage without spaces."""
    if said is None:
        return None
    Share.parse(said)
    return said if isinstance(said, int) else "".join(said.split())
