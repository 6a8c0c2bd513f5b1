"""Results go to stdout: tables for people, tabs for pipes, JSON for programs. Everything else goes to stderr."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from pydantic import BaseModel
    from rich.console import Console
    from rich.text import Text

TAIL = 8  # characters of an id that people see in a table
MARKS = {
    "alive": ("✔", "green"),
    "succeeded": ("✔", "green"),
    "failed": ("✘", "red"),
    "timed_out": ("⏱", "red"),
    "cancelled": ("■", "yellow"),
    "skipped": ("-", "dim"),
    "running": ("▶", "cyan"),
    "reported": ("▶", "cyan"),
    "ready": ("○", "blue"),
    "held": ("◌", "blue"),
    "waiting": ("…", "magenta"),
    "blocked": ("◌", "dim"),
    "lost": ("✘", "red"),
    "parked": ("◌", "yellow"),
}


def console() -> Console:
    """Where results go."""
    from rich.console import Console

    return Console(highlight=False, soft_wrap=not sys.stdout.isatty())


def say(text: str) -> None:
    """A word to the person at the terminal; never part of a result."""
    click.echo(text, err=True)


def as_json(found: BaseModel | Sequence[BaseModel]) -> None:
    """One model as a JSON object, several as JSON Lines."""
    for one in found if isinstance(found, Sequence) else [found]:
        click.echo(one.model_dump_json())


def rows(found: Iterable[Mapping[str, Any]], columns: Sequence[str]) -> None:
    """A table on a terminal, tab-separated values with a header when piped."""
    if not sys.stdout.isatty():
        click.echo("\t".join(columns))
        for row in found:
            click.echo("\t".join(_cell(row.get(column)) for column in columns))
        return
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column)
    for row in found:
        table.add_row(*(_shown(column, row.get(column)) for column in columns))
    console().print(table)


def status(word: str) -> Text:
    """A status with its mark."""
    from rich.text import Text

    mark, style = MARKS.get(word, ("·", "default"))
    return Text(f"{mark} {word}", style=style)


def _shown(column: str, value: Any) -> Text:
    """A cell for people: a status with its mark, an id by the tail that every verb takes."""
    from rich.text import Text

    if column == "status":
        return status(str(value))
    text = _cell(value)
    return Text(text[-TAIL:] if column in ("id", "run") and len(text) == 36 else text)


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, datetime):
        return value.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%SZ")
    if isinstance(value, list | tuple):
        return ",".join(map(str, value))
    return str(value).replace("\t", " ").replace("\n", " ")


def span(seconds: float | None) -> str:
    """A duration as people read it."""
    if seconds is None:
        return ""
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 120:
        return f"{seconds:.1f} s"
    if seconds < 7200:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h" if seconds < 172_800 else f"{seconds / 86_400:.1f} d"
