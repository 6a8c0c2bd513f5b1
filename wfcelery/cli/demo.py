"""`wfcelery demo`."""

from __future__ import annotations

from pathlib import Path

import click


@click.command()
@click.option("--seed", default=0, show_default=True, help="Which sample of the data.")
@click.option("--size", default=2000, show_default=True, type=click.IntRange(50, 28_000), help="How many airports are in it.")
@click.option("--pace", default=0.6, show_default=True, type=click.FloatRange(0.2, 10), help="Seconds that each step lingers.")
@click.option("--production", is_flag=True, help="On PostgreSQL and a Redis-compatible server, with two celery workers and a celery beat.")
@click.option("--output", "folder", default="demo-output", show_default=True, type=click.Path(file_okay=False, path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="One JSON object at the end instead of the story.")
@click.pass_context
def demo(ctx: click.Context, /, seed: int, size: int, pace: float, production: bool, folder: Path, as_json: bool) -> None:
    """Run a report on the world's airports, kill the worker in the middle, and check the figures.

    Exit code 0 only if a step was interrupted, ran again, and every figure is right.
    """
    from wfcelery.cli.demonstration import play

    if not play(seed, size, pace, production, folder, as_json):
        ctx.exit(1)
