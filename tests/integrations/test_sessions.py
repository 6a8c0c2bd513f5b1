"""A start in a SQLAlchemy session's transaction is part of it, and rings when it has committed and not before."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from uuid import UUID

import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import Session

from wfcelery import Run, astart_workflow, get_run, start_workflow, step, workflow
from wfcelery.core.decision import Ring
from wfcelery.errors import KeyConflict, Misconfigured, NotFound
from wfcelery.service import asking
from wfcelery.service import context as service
from wfcelery.service.context import Context
from wfcelery.settings import Settings
from wfcelery.store import migrations
from wfcelery.store.database import Database


@step
def double(number: int) -> int:
    return 2 * number


@workflow
def doubled(number: int) -> int:
    return double(number)


@dataclass
class Rung:
    """Hears what is rung for."""

    runs: list[str] = field(default_factory=list)

    def ring(self, rings: Sequence[Ring]) -> None:
        self.runs += [str(ring.run) for ring in rings]


@pytest.fixture
def rung(database_url: str) -> Iterator[Rung]:
    """This process speaks to an empty database; what it rings for."""
    yield from speaking_to(database_url)


@pytest.fixture
def rung_on_postgres(postgres_url: str) -> Iterator[Rung]:
    """The same, on PostgreSQL."""
    yield from speaking_to(postgres_url)


def speaking_to(database_url: str) -> Iterator[Rung]:
    rung, database = Rung(), Database(database_url)
    migrations.upgrade(database)
    service.configure(lambda: Context(database, Settings(), rung))
    yield rung
    service.configure(service.from_environment)
    database.close()


@pytest.fixture
def open_session(rung: Rung, database_url: str) -> Iterator[Callable[[], Session]]:
    engine = sa.create_engine(database_url)
    yield lambda: Session(engine)
    engine.dispose()


@pytest.fixture
def another_session(rung: Rung, tmp_path: Path) -> Iterator[Session]:
    """A session of a database that has none of our tables."""
    engine = sa.create_engine(f"sqlite:///{tmp_path / 'other.db'}")
    with Session(engine) as session:
        yield session
    engine.dispose()


def exists(run: str) -> bool:
    try:
        get_run(run).status()
    except NotFound:
        return False
    return True


def test_a_run_is_there_and_rung_for_when_the_session_has_committed(rung: Rung, open_session: Callable[[], Session]) -> None:
    with open_session() as session:
        run = start_workflow(doubled.bind(1), session=session)
        assert rung.runs == []
        session.commit()
        assert rung.runs == [run.id]
        session.commit()
    assert rung.runs == [run.id]
    assert run.status() == "pending"


def test_a_rolled_back_session_leaves_no_run_and_no_ring(rung: Rung, open_session: Callable[[], Session]) -> None:
    with open_session() as session:
        run = start_workflow(doubled.bind(1), session=session)
        session.rollback()
        session.execute(sa.text("select 1"))
        session.commit()
    assert rung.runs == []
    assert not exists(run.id)


def test_a_session_that_is_closed_without_a_commit_does_not_ring_with_its_next_one(rung: Rung, open_session: Callable[[], Session]) -> None:
    session = open_session()
    dropped = start_workflow(doubled.bind(1), session=session)
    session.close()
    kept = start_workflow(doubled.bind(2), session=session)
    session.commit()
    session.close()
    assert rung.runs == [kept.id]
    assert not exists(dropped.id)


def test_what_was_started_in_a_savepoint_goes_with_it_also_from_a_released_one_inside(
    rung: Rung, open_session: Callable[[], Session]
) -> None:
    with open_session() as session:
        outside = start_workflow(doubled.bind(1), session=session)
        around = session.begin_nested()
        with session.begin_nested():
            inside = start_workflow(doubled.bind(2), session=session)
        around.rollback()
        with session.begin_nested():
            released = start_workflow(doubled.bind(3), session=session)
        assert rung.runs == []
        session.commit()
    assert rung.runs == [outside.id, released.id]
    assert not exists(inside.id)


def test_a_clash_of_keys_leaves_the_sessions_transaction_usable(rung: Rung, open_session: Callable[[], Session]) -> None:
    first = start_workflow(doubled.bind(1), key="k")
    with open_session() as session:
        assert start_workflow(doubled.bind(1), key="k", session=session) == first
        with pytest.raises(KeyConflict):
            start_workflow(doubled.bind(2), key="k", session=session)
        second = start_workflow(doubled.bind(2), key="l", session=session)
        session.commit()
    assert rung.runs == [first.id, second.id]


def test_an_app_with_psycopg2_joins_as_well(rung_on_postgres: Rung, postgres_url: str) -> None:
    engine = sa.create_engine(postgres_url.replace("+psycopg:", "+psycopg2:"))
    with Session(engine) as session:
        dropped = start_workflow(doubled.bind(1), session=session)
        session.rollback()
        kept = start_workflow(doubled.bind(1), key="k", tags=["100%"], deadline="1h", session=session)
        assert start_workflow(doubled.bind(1), key="k", session=session) == kept
        session.commit()
    engine.dispose()
    assert rung_on_postgres.runs == [kept.id]
    assert not exists(dropped.id)


def test_an_asyncio_session_joins_where_it_lives(rung_on_postgres: Rung, postgres_url: str) -> None:
    async def both() -> tuple[Run[int], Run[int], Run[int]]:
        engine = create_async_engine(postgres_url)
        async with AsyncSession(engine) as session:
            dropped = await astart_workflow(doubled.bind(1), session=session)
            await session.rollback()
            kept = await astart_workflow(doubled.bind(1), session=session)
            assert rung_on_postgres.runs == []
            await session.commit()
        async with engine.connect() as connection:
            given = await astart_workflow(doubled.bind(1), connection=connection)
            await connection.commit()
        await engine.dispose()
        return dropped, kept, given

    dropped, kept, given = asyncio.run(both())
    assert rung_on_postgres.runs == [kept.id], "a connection tells nobody of its commit: the sweep finds its run"
    assert not exists(dropped.id)
    assert exists(given.id)


def test_join_false_commits_apart(rung: Rung, another_session: Session) -> None:
    run = start_workflow(doubled.bind(1), session=another_session, join=False)
    another_session.rollback()
    assert rung.runs == [run.id]
    assert exists(run.id)


def test_a_session_of_another_database_starts_after_its_commit(
    rung: Rung, another_session: Session, caplog: pytest.LogCaptureFixture
) -> None:
    dropped = start_workflow(doubled.bind(1), key="k", session=another_session)
    another_session.rollback()
    kept = start_workflow(doubled.bind(1), key="k", session=another_session)
    assert not exists(kept.id)
    another_session.commit()
    assert rung.runs == [kept.id]
    assert exists(kept.id)
    assert not exists(dropped.id)
    assert start_workflow(doubled.bind(1), key="k", session=another_session) == kept
    with pytest.raises(KeyConflict):
        start_workflow(doubled.bind(2), key="k", session=another_session)
    assert sum("starts after its commit" in record.message for record in caplog.records) == 1


def test_a_cancel_waits_for_the_commit_as_a_start_does(rung: Rung, open_session: Callable[[], Session], another_session: Session) -> None:
    run = start_workflow(doubled.bind(1))
    with open_session() as session:
        for each in (session, another_session):
            rung.runs.clear()
            asking.tell(service.current(), UUID(run.id), "cancel", {"reason": "changed my mind", "by": None}, {"session": each})
            assert rung.runs == []
            each.commit()
            assert rung.runs == [run.id]


def test_a_connection_of_another_database_is_refused(rung: Rung, another_session: Session) -> None:
    with pytest.raises(Misconfigured, match="join=False"):
        start_workflow(doubled.bind(1), connection=another_session.connection())
