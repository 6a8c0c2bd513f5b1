"""What a step may keep beside its run, under names: `current_step().data` and `get_run(id).data`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from wfcelery.clock import monotonic
from wfcelery.definition.spans import seconds
from wfcelery.definition.values import decode, dumps, encode, loads
from wfcelery.errors import Duration


class RunData(Protocol):
    """Values beside a run, by name. They come back as JSON keeps them; of two who write at once the last wins."""

    def get(self, key: str, default: Any = None, /) -> Any:
        """What is kept under this name; the default where nothing is, or what was has expired."""

    def put(self, key: str, value: object, /, *, expires: Duration | None = None) -> None:
        """Keep a value, in place of what was there; for this span, or as long as the run is kept."""

    def add(self, key: str, value: object, /, *, expires: Duration | None = None) -> bool:
        """Keep a value where there is none; False where there is one."""

    def swap(self, key: str, expected: object, value: object, /, *, expires: Duration | None = None) -> bool:
        """Keep a value in place of the one that is expected; False where another is there, or none."""

    def delete(self, key: str, /) -> bool:
        """Keep it no longer; False where nothing was."""

    def keys(self) -> Sequence[str]:
        """The names under which something is kept."""


@dataclass(slots=True)
class DetachedData:
    """The same for a step that is called outside of a run, in a test or a shell: it lives as long as the call's context."""

    _kept: dict[str, tuple[str, float | None]] = field(default_factory=dict)

    def get(self, key: str, default: Any = None, /) -> Any:
        """As of a run."""
        text = self._text(key)
        return default if text is None else decode(loads(text))

    def put(self, key: str, value: object, /, *, expires: Duration | None = None) -> None:
        """As of a run."""
        self._kept[key] = dumps(encode(value)), None if expires is None else monotonic() + seconds(expires)

    def add(self, key: str, value: object, /, *, expires: Duration | None = None) -> bool:
        """As of a run."""
        if self._text(key) is not None:
            return False
        self.put(key, value, expires=expires)
        return True

    def swap(self, key: str, expected: object, value: object, /, *, expires: Duration | None = None) -> bool:
        """As of a run."""
        if self._text(key) != dumps(encode(expected)):
            return False
        self.put(key, value, expires=expires)
        return True

    def delete(self, key: str, /) -> bool:
        """As of a run."""
        found = self._text(key) is not None
        self._kept.pop(key, None)
        return found

    def keys(self) -> Sequence[str]:
        """As of a run."""
        return sorted(key for key in self._kept if self._text(key) is not None)

    def _text(self, key: str) -> str | None:
        text, until = self._kept.get(key, (None, None))
        return None if until is not None and until <= monotonic() else text
