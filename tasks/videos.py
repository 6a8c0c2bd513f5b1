"""A shelf of videos: each goes through a workflow of its own, some at once, and one that cannot be read spoils no other.

`videos.yaml` says the same in YAML. Both are one definition.
"""

from __future__ import annotations

from collections.abc import Sequence

from wfcelery import Failed, GiveUp, Retry, step, workflow


@step(retry=Retry(count=0))
def probe(file: str) -> int:
    """How many seconds there are."""
    if file.startswith("broken"):
        raise GiveUp(f"{file} cannot be read")
    return len(file)


@step
def encode(file: str, height: int) -> str:
    return f"{file}@{height}"


@step
def publish_it(files: Sequence[str], seconds: int) -> str:
    return f"{', '.join(files)}: {seconds} s"


@step
def count(published: Sequence[str | Failed]) -> list[str]:
    return [each for each in published if not isinstance(each, Failed)]


@workflow(version="1")
def one_video(file: str) -> str:
    seconds = probe(file)
    files = [encode.options(name="small", after=seconds)(file, 480), encode.options(name="large", after=seconds)(file, 1080)]
    return publish_it(files, seconds)


@workflow(version="1")
def shelf(files: list[str]) -> list[str]:
    return count(one_video.options(concurrency=2, on_error=Failed).map(files))
