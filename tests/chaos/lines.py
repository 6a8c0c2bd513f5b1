"""Ledgers are files of JSON lines, of which each was one write: none is in parts."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any


def lines(path: Path) -> Iterator[dict[str, Any]]:
    """The lines of a ledger, none if there is no such file."""
    if path.exists():
        with path.open() as file:
            for line in file:
                yield json.loads(line)
