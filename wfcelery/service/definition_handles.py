"""Definitions as the code of an app publishes and retires them."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from wfcelery.authoring.decorators import Workflow
from wfcelery.authoring.yaml import load_yaml_file
from wfcelery.definition.findings import Problem
from wfcelery.definition.problems import read
from wfcelery.errors import AuthoringError, DefinitionProblems
from wfcelery.service import standing
from wfcelery.service.context import current
from wfcelery.service.definitions import Published
from wfcelery.store.definitions import StoredDefinition


@dataclass(frozen=True, slots=True)
class DefinitionVersion:
    """One stored definition: which version of which workflow, and where it stands."""

    name: str
    version: str
    revision: int
    status: Literal["draft", "published", "archived"]
    signature: str


def publish_definition(
    what: Workflow[..., Any] | Path | Mapping[str, Any] | str, *, draft: bool = False, by: str | None = None
) -> DefinitionVersion:
    """Store a definition before anything starts by it: a workflow of this code, a YAML file, or the same as a dict.

    The text "name@version" publishes what is stored as a draft. With `draft` nothing starts by it until it is published. `by`
    is kept in the audit. A transaction of its own. Raises `DefinitionProblems` with everything wrong, before anything is
    written, `NotAllowedNow` under `strict_versions` where the version has another body, `NotFound`.
    """
    if isinstance(what, str):
        return _version(standing.publish_drafts(current(), what, by)[0])
    if isinstance(what, Workflow):
        definition = what.definition
    elif isinstance(what, Path):
        definition = load_yaml_file(what)
    elif isinstance(what, Mapping):
        found, problems = read(what)
        errors: list[Problem] = [problem for problem in problems if problem.severity == "error"]
        if found is None or errors:
            raise DefinitionProblems("the definition", errors)
        definition = found
    else:
        raise AuthoringError(f"publish_definition takes a workflow, a Path, a dict, or the name of a draft; {type(what).__name__} is none")
    return _version(standing.publish(current(), definition, draft=draft, by=by))


def archive_definition(name: str, *, by: str | None = None) -> Sequence[DefinitionVersion]:
    """Let no run begin any more by "name@version", or by any version of "name"; runs under way go on.

    Workers and web processes notice it within seconds. Raises `NotFound`, and `NotAllowedNow` where nothing of it is published.
    """
    return [_version(each) for each in standing.archive(current(), name, by)]


def unarchive_definition(name: str, *, by: str | None = None) -> Sequence[DefinitionVersion]:
    """Let runs begin again by what was archived. Raises `NotFound`, and `NotAllowedNow` where nothing of it is archived."""
    return [_version(each) for each in standing.unarchive(current(), name, by)]


async def apublish_definition(
    what: Workflow[..., Any] | Path | Mapping[str, Any] | str, *, draft: bool = False, by: str | None = None
) -> DefinitionVersion:
    """`publish_definition` from a coroutine."""
    return await asyncio.to_thread(publish_definition, what, draft=draft, by=by)


async def aarchive_definition(name: str, *, by: str | None = None) -> Sequence[DefinitionVersion]:
    """`archive_definition` from a coroutine."""
    return await asyncio.to_thread(archive_definition, name, by=by)


async def aunarchive_definition(name: str, *, by: str | None = None) -> Sequence[DefinitionVersion]:
    """`unarchive_definition` from a coroutine."""
    return await asyncio.to_thread(unarchive_definition, name, by=by)


def _version(found: Published | StoredDefinition) -> DefinitionVersion:
    status: Any = found.status
    return DefinitionVersion(found.name, found.version, found.revision, status, found.signature)
