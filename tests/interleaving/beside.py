"""Runs beside the one of which all is under way: one asks people, one waits for a child, one is about to be undone."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any
from uuid import UUID, uuid4

from tests.interleaving.scene import Scene
from tests.store.rows import look, started
from wfcelery.core.events import Failed, Succeeded, WaitCame
from wfcelery.engine.apply import apply
from wfcelery.engine.dispatching import Inbox
from wfcelery.store import inbox
from wfcelery.store.claims import Claimed, claim

ASKING, PARENT, UNDONE = (UUID(int=2**128 - number) for number in (30, 31, 32))
ERROR = {"type": "Oops", "code": None, "message": "no luck"}
Run = Callable[[], object]


def _begin(scene: Scene, run: UUID, workflow: str) -> bool:
    """Whether it was not there before."""
    if look(scene.database, "select id from wf_run where workflow = :name and parent is null", name=workflow):
        return False
    started(scene.database, id=run, workflow=workflow, definition=scene.beside[workflow], input="{}")
    apply(scene.hands[0].runtime, run, Inbox("default"))
    return True


def _take(scene: Scene, run: UUID, task: str, as_name: str) -> None:
    """A worker executes this step of a run."""
    [(id_,)] = look(scene.database, "select id from wf_step where run = :run and name = :name", run=run, name=task)
    scene.ids[as_name], scene.tokens[as_name] = UUID(str(id_)), uuid4()
    with scene.database.transaction() as tx:
        found = claim(tx, "default", scene.ids[as_name], scene.tokens[as_name], scene.hands[0].worker, "100:1", 0.0)
    assert isinstance(found, Claimed)


def _put(scene: Scene, run: UUID, fact: str, **data: Any) -> None:
    with scene.database.transaction() as tx:
        inbox.put(tx, "default", run, fact, data)


def drain(run: UUID) -> Callable[[Scene, int], Run]:
    """A dispatcher's transaction on this run."""
    return lambda scene, side: lambda: apply(scene.hands[side].runtime, run, Inbox("default"))


def put_a_cancel(run: UUID) -> Callable[[Scene, int], Run]:
    """Somebody wants this run to end."""
    return lambda scene, side: partial(_put, scene, run, "cancel", reason=f"of caller {side}", by=None)


# ---- what is asked of people -----------------------------------------------------------------------------------------


def _answer(scene: Scene, verb: str) -> None:
    _put(scene, ASKING, verb, task="ask", by="ada", roles=[], comment=None, form=None)


def ask(scene: Scene) -> None:
    """An approval is open."""
    if _begin(scene, ASKING, "asking"):
        [(step, wait)] = look(scene.database, "select step, id from wf_wait where run = :run", run=ASKING)
        scene.ids["ask"], scene.ids["asked"] = UUID(str(step)), UUID(str(wait))


def ask_and_answer(scene: Scene) -> None:
    """And somebody has approved: it is in the run's inbox."""
    ask(scene)
    _answer(scene, "approve")


def reject(scene: Scene, side: int) -> Run:
    """Somebody else says no meanwhile."""
    return partial(_answer, scene, "reject")


def remind(scene: Scene, side: int) -> Run:
    """The time of a reminder has come."""
    return lambda: apply(scene.hands[side].runtime, ASKING, (WaitCame(scene.ids["ask"], scene.ids["asked"]),))


# ---- children --------------------------------------------------------------------------------------------------------


def call(scene: Scene) -> None:
    """A run waits for its child, whose only step is executed."""
    if _begin(scene, PARENT, "calling"):
        [(child,)] = look(scene.database, "select id from wf_run where parent = :run", run=PARENT)
        scene.ids["child"] = UUID(str(child))
        apply(scene.hands[0].runtime, scene.ids["child"], Inbox("default"))
        _take(scene, scene.ids["child"], "only", "of the child")


def call_and_end(scene: Scene) -> None:
    """The child has ended, and its parent has been told."""
    call(scene)
    end_child(scene, 0)()


def call_and_cancel(scene: Scene) -> None:
    """The parent is to be cancelled, and its child with it."""
    call(scene)
    _put(scene, PARENT, "cancel", reason="enough", by=None)


def end_child(scene: Scene, side: int) -> Run:
    """The child's last step, and with it the child: its parent is told in the same commit."""
    fact = Succeeded(scene.ids["of the child"], scene.tokens["of the child"], "x")
    return lambda: apply(scene.hands[side].runtime, scene.ids["child"], (fact,))


# ---- compensation ----------------------------------------------------------------------------------------------------


def do_what_can_be_undone(scene: Scene) -> None:
    """Something has been done that can be undone, and the step behind it is executed."""
    if _begin(scene, UNDONE, "undone"):
        _take(scene, UNDONE, "charge", "charge")
        apply(scene.hands[0].runtime, UNDONE, (Succeeded(scene.ids["charge"], scene.tokens["charge"], "x"),))
        _take(scene, UNDONE, "ship", "ship")


def do_and_cancel(scene: Scene) -> None:
    """And somebody wants the run to end."""
    do_what_can_be_undone(scene)
    _put(scene, UNDONE, "cancel", reason="enough", by=None)


def begin_to_undo(scene: Scene, side: int) -> Run:
    """The failure that lays out what is undone, and begins with the last of it."""
    fact = Failed(scene.ids["ship"], scene.tokens["ship"], ERROR, final=True)
    return lambda: apply(scene.hands[side].runtime, UNDONE, (fact,))
