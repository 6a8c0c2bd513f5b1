"""`--where QUERY` on verbs of runs and of dead letters: what it would come to, and with `--yes` the doing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from wfcelery.cli import output

if TYPE_CHECKING:
    from wfcelery.service.bulk import Bulk

where = click.option("--where", metavar="QUERY", help="Of all that match, such as 'status=failed workflow=order created>2h'.")
yes = click.option("--yes", is_flag=True, help="With --where: do it; without it, only what it would come to is said.")


def told(found: Bulk, as_json: bool) -> None:
    """What a verb for many came to, or would."""
    if as_json:
        output.as_json(found)
        return
    output.rows([tally.model_dump() for tally in found.per], ("workflow", "status", "count"))
    if found.asked is None:
        some = f", {found.sample[0]} among them" if found.sample else ""
        output.say(f"{found.able} of {found.matching} would be asked to {found.verb}{some}; say --yes to do it")
        return
    output.say(f"{found.asked} asked to {found.verb}" + (f"; {found.moved_on} had moved on" if found.moved_on else ""))


def one_or_many(named: tuple[str, ...], query: str | None, really: bool) -> None:
    """Raises UsageError where neither or both are said."""
    if (not named) is (query is None):
        raise click.UsageError("name what is meant, or say --where QUERY, one of the two")
    if really and query is None:
        raise click.UsageError("--yes belongs to --where")
