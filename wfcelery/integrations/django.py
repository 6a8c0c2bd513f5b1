"""Django: the project's own database settings, its open transaction, its connection for transactional steps."""

from __future__ import annotations

import importlib
import logging
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import quote

from celery.signals import task_postrun, task_prerun
from django.conf import settings as django_settings
from django.core import checks
from django.db import connections, transaction
from django.utils.connection import ConnectionDoesNotExist
from django.utils.module_loading import autodiscover_modules

from wfcelery.errors import Misconfigured, Unavailable
from wfcelery.service import context as service
from wfcelery.service import definitions
from wfcelery.service.context import Context, Joined
from wfcelery.settings import Settings
from wfcelery.store import payloads
from wfcelery.store.database import Database, DjangoTx, Tx
from wfcelery.store.failures import CommitUnknown, named_error
from wfcelery.worker.attempts import CURRENT

log = logging.getLogger(__name__)

_DRIVERS = {"postgresql": "postgresql+psycopg", "sqlite3": "sqlite"}


def in_use() -> bool:
    """Whether this process is part of a Django project."""
    return "DJANGO_SETTINGS_MODULE" in os.environ or ("django.conf" in sys.modules and django_settings.configured)


def app_values() -> dict[str, Any]:
    """The project's `WFCELERY = {...}`; `using` in it is ours alone."""
    return {name: value for name, value in getattr(django_settings, "WFCELERY", {}).items() if name != "using"}


def own_url() -> str:
    """The project's database that holds our tables: the default one, unless `WFCELERY` says `using`.

    To be asked late: a test run of Django puts another one in its place.
    """
    return database_url(getattr(django_settings, "WFCELERY", {}).get("using", "default"))


def database_url(alias: str = "default") -> str:
    """The URL of one of the project's databases, as SQLAlchemy writes it."""
    found = django_settings.DATABASES.get(alias)
    if found is None:
        raise Misconfigured(f"DATABASES has no {alias}")
    engine = str(found["ENGINE"]).rpartition(".")[2]
    driver = _DRIVERS.get(engine)
    if driver is None:
        raise Misconfigured(
            f"the database {alias} is {engine}; wfcelery keeps its tables in PostgreSQL or SQLite: set WFCELERY_DATABASE_URL"
        )
    name = str(found["NAME"])
    if driver == "sqlite":
        if ":memory:" in name or "mode=memory" in name:
            raise Misconfigured(f"the database {alias} is in memory; wfcelery needs a file, which every process can see")
        return f"sqlite:///{name}"
    user, password = quote(str(found.get("USER") or ""), safe=""), quote(str(found.get("PASSWORD") or ""), safe="")
    who = f"{user}:{password}@" if password else f"{user}@" if user else ""
    host, port = str(found.get("HOST") or ""), str(found.get("PORT") or "")
    if host.startswith("/"):
        return f"{driver}://{who}/{quote(name)}?host={quote(host, safe='')}" + (f"&port={port}" if port else "")
    return f"{driver}://{who}{host}{':' + port if port else ''}/{quote(name)}"


def configure() -> None:
    """For commands without a Celery app: the project's settings are enough."""
    importlib.import_module("django").setup()

    def make() -> Context:
        settings = Settings.read(app_values())
        return Context(Database(settings.database_url or own_url(), payloads.of(settings)), settings, rings=False, joiners=[join])

    service.configure(make)


class JoinedAtomic:
    """Django's current `atomic()`: what waits for its commit follows the outermost one, savepoints included."""

    def __init__(self, alias: str, tx: Tx | None) -> None:
        self._alias = alias
        self.tx = tx

    def after_commit(self, act: Callable[[], None]) -> None:
        """A ring may fail: a committed request must not become an error. A start of another database may not, silently."""
        transaction.on_commit(act, using=self._alias, robust=self.tx is not None)


def join(context: Context, options: dict[str, Any]) -> Joined | None:
    """Become part of Django's open transaction on the database of our tables, or wait for that on another one."""
    given = options.get("using")
    elsewhere: str | None = None
    for alias in [given] if given else list(connections):
        try:
            connection = connections[alias]
        except ConnectionDoesNotExist as problem:
            raise Misconfigured(f"using={alias!r}: {problem}") from problem
        if not connection.in_atomic_block:
            continue
        if points_at(context.database, alias):
            return JoinedAtomic(alias, DjangoTx(connection, context.database.payloads))
        elsewhere = elsewhere or alias
    return None if elsewhere is None else JoinedAtomic(elsewhere, None)


def points_at(database: Database, alias: str) -> bool:
    """Whether one of the project's databases is the one that holds our tables."""
    try:
        mine = Database.place_of(database_url(alias))
    except Misconfigured:
        return False
    return mine == Database.place_of(database.url)


@contextmanager
def transactional(database: Database, isolation: str | None, seconds: float) -> Iterator[tuple[Any, Tx] | None]:
    """One transaction on Django's own connection, for a transactional step's effect and its result.

    Yields (connection, tx), or None where no database of the project holds our tables. On PostgreSQL no statement
    and no wait in it takes longer than `seconds`. Raises CommitUnknown where the connection was lost during the commit, and
    Unavailable where that was before.
    """
    alias = next((alias for alias in connections if points_at(database, alias)), None)
    if alias is None:
        yield None
        return
    connection = connections[alias]
    connection.close_if_unusable_or_obsolete()
    committed, done = list[bool](), False
    try:
        with transaction.atomic(using=alias, durable=True):
            transaction.on_commit(lambda: committed.append(True), using=alias)
            _set_limits(connection, isolation, seconds)
            yield connection, DjangoTx(connection, database.payloads)
            done = True
    except Exception as problem:
        if committed:  # the author's code has hung it on the commit, and the commit cannot be taken back
            log.exception("what a transactional step has asked for by on_commit raised")
        elif isinstance(away := named_error(problem.__cause__ or problem), Unavailable):
            raise (CommitUnknown(str(problem)) if done else away) from problem
        else:
            raise


def _set_limits(connection: Any, isolation: str | None, seconds: float) -> None:
    if connection.vendor != "postgresql":
        return
    with connection.cursor() as cursor:
        if isolation is not None:
            cursor.execute("set transaction isolation level " + isolation)
        for name in ("statement_timeout", "idle_in_transaction_session_timeout", "lock_timeout"):
            cursor.execute(f"set local {name} = {int(seconds * 1000)}")


def check_definitions() -> None:
    """Make the problems of the project's workflows one of Django's system checks."""
    checks.register(_problems)


def _problems(app_configs: Any, **_: Any) -> list[checks.CheckMessage]:
    del app_configs
    autodiscover_modules("tasks", "workflows")
    return [checks.Error(problem, id="wfcelery.E001") for problem in definitions.check_code(None)]


def keep_connections_usable() -> None:
    """Before and after each step close what Django would close around a request.

    Celery's own fixup does so around tasks, but not around those that say `is_eager`, as a step's request does:
    without this a worker would keep a connection that the database has closed.
    """
    for signal in (task_prerun, task_postrun):
        signal.connect(_close_old, weak=False, dispatch_uid="wfcelery-django")


def _close_old(**_: Any) -> None:
    if CURRENT.get() is None:
        return
    for connection in connections.all(initialized_only=True):
        if not connection.in_atomic_block:  # a transactional step is in one, and would lose it
            connection.close_if_unusable_or_obsolete()
