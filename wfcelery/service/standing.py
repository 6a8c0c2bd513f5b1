"""Where a definition stands: a draft, published, archived; and how people change that.

Only what is published starts. Runs under way keep the definition they began with, however it stands.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

from wfcelery.definition.model import Definition
from wfcelery.errors import NotAllowedNow, NotFound
from wfcelery.service import definitions
from wfcelery.service.asked import check_text
from wfcelery.service.context import Context
from wfcelery.service.definitions import Published
from wfcelery.store import audit
from wfcelery.store import definitions as stored
from wfcelery.store.database import Tx
from wfcelery.store.definitions import StoredDefinition

Standing = Literal["draft", "published", "archived"]


def publish(context: Context, definition: Definition, *, draft: bool = False, by: str | None = None) -> Published:
    """Store a definition, published or as a draft. A draft of the same graph is published by it; what is archived stays so."""
    found = definitions.checked_signature(definition)
    with context.transaction() as tx:
        kept = definitions.store_in(context, tx, definition, found, "draft" if draft else "published")
        if kept.status == "draft" and not draft:
            _stand(tx, context, [_stored(tx, found)], "draft", "published", by)
            kept = replace(kept, status="published")
    return kept


def publish_drafts(context: Context, name: str, by: str | None = None) -> Sequence[StoredDefinition]:
    """Publish the drafts that `NAME`, `NAME@VERSION` or the beginning of a signature means. Raises NotFound, and NotAllowedNow for none."""
    return change(context, name, "draft", "published", by)


def archive(context: Context, name: str, by: str | None = None) -> Sequence[StoredDefinition]:
    """Let no run begin any more with what is published under this name. Raises as `publish_drafts`."""
    return change(context, name, "published", "archived", by)


def unarchive(context: Context, name: str, by: str | None = None) -> Sequence[StoredDefinition]:
    """Let runs begin again with what was archived. It has the place among the versions that it had. Raises as `publish_drafts`."""
    return change(context, name, "archived", "published", by)


def change(context: Context, name: str, seen: Standing, to: Standing, by: str | None) -> Sequence[StoredDefinition]:
    """Let all that `name` means and that stands as `seen` stand as `to`, and say in the audit who asked for it."""
    if by is not None:
        check_text(name, "by", by)
    with context.transaction() as tx:
        meant = meant_by(tx, name)
        mine = [each for each in meant if each.status == seen]
        if not meant:
            raise NotFound("definition", name, definitions.near(context, name.partition("@")[0], tx))
        if not mine:
            stand = ", ".join(dict.fromkeys(_said(each.status) for each in meant))
            raise NotAllowedNow(f"{name} is {stand}: nothing of it can be {_DONE[seen, to]}", meant[0].status)
        _stand(tx, context, mine, seen, to, by)
    for each in mine:
        context.looked.pop(each.signature, None)
    return [replace(each, status=to) for each in mine]


def meant_by(tx: Tx, name: str) -> list[StoredDefinition]:
    """What `NAME`, `NAME@VERSION` or the beginning of a signature means: all versions, all revisions of one, or one definition."""
    found = stored.of_name(tx, name)
    if not found and "@" in name:
        of, _, version = name.rpartition("@")
        found = [each for each in stored.of_name(tx, of) if each.version == version]
    one = None if found else stored.by_signature(tx, name)
    return found if one is None else [one]


def one_of(context: Context, name: str) -> StoredDefinition:
    """The one that is meant where one is wanted: the newest that is published, or else the newest. Raises NotFound."""
    with context.transaction() as tx:
        found = meant_by(tx, name)
        if not found:
            raise NotFound("definition", name, definitions.near(context, name.partition("@")[0], tx))
    return next((each for each in found if each.status == "published"), found[0])


_DONE = {("draft", "published"): "published", ("published", "archived"): "archived", ("archived", "published"): "taken out of the archive"}
_VERBS = {("draft", "published"): "publish", ("published", "archived"): "archive", ("archived", "published"): "unarchive"}


def _said(status: str) -> str:
    return "a draft" if status == "draft" else status


def _stand(tx: Tx, context: Context, found: Sequence[StoredDefinition], seen: Standing, to: Standing, by: str | None) -> None:
    stored.stand(tx, [each.signature for each in found], seen, to)
    for each in found:
        audit.tell(tx, context.settings.organization_id, None, f"{_VERBS[seen, to]}_definition", by, f"{each.name}@{each.version}")


def _stored(tx: Tx, signature: str) -> StoredDefinition:
    found = stored.by_signature(tx, signature)
    assert found is not None
    return found
