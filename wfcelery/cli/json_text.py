"""A value as people type it: JSON, `@FILE`, or `-` for what comes in."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import click


def read_json(text: str, hint: str) -> Any:
    """The value that was typed. Raises BadParameter, which quotes nothing of it."""
    try:
        if text == "-":
            text = sys.stdin.read()
        elif text.startswith("@"):
            text = Path(text[1:]).read_text(encoding="utf-8")
        return json.loads(text)
    except (OSError, ValueError, RecursionError) as problem:  # no file, no text in it, no JSON, nested too deep
        raise click.BadParameter(f"it is no JSON that can be read: {type(problem).__name__}", param_hint=hint) from problem
