"""`install(app)`: hang wfcelery on a Celery app, with what the framework around it knows."""

from __future__ import annotations

import importlib
import logging
import os
import sys
from collections.abc import Callable
from time import monotonic, sleep
from typing import Any

from celery import Celery

from wfcelery.authoring.registry import registry
from wfcelery.engine.process import Process
from wfcelery.engine.runtime import Runtime
from wfcelery.errors import DefinitionProblems, Misconfigured, Unavailable
from wfcelery.service import context as service
from wfcelery.service import definitions, expiring, publishing
from wfcelery.service.context import Context
from wfcelery.store import migrations, payloads
from wfcelery.store.database import Database
from wfcelery.store.statements import compile_all
from wfcelery.worker import processes
from wfcelery.worker.installation import Installation
from wfcelery.worker.transacting import StepTransactions

log = logging.getLogger(__name__)

PATIENCE = 5.0  # seconds that one message may spend on deleting what has expired
WAIT_FOR_DATABASE = 60.0  # seconds that a worker which starts waits for it: as long as a server takes to come back


def install(app: Celery, **settings: Any) -> Installation:
    """Hang wfcelery on a Celery app. Call it where the app is made, after its configuration.

    Adds four tasks (`wfcelery.step`, `wfcelery.dispatch`, `wfcelery.sweep`, `wfcelery.expire`), a bootstep, two
    entries of beat's schedule and, on `redis://` without a `broker_transport` of yours, the transport that survives a restart of
    Redis. Changes no setting that another task can feel. `settings` are those of `wfcelery.settings.Settings`;
    the database is `database_url`, else `WFCELERY_DATABASE_URL`, else Django's default one. Raises for settings
    that do not exist or cannot be.
    """
    known = getattr(app, "wfcelery", None)
    if isinstance(known, Installation):
        return known
    installation = Installation(app, _process, _with_framework(settings), started=_started, expire=_expire)
    app.wfcelery = installation
    installation.put()
    django = _django()
    if django is not None:
        django.keep_connections_usable()
        django.check_definitions()
    service.configure(lambda: _context(installation))
    return installation


def _django() -> Any:
    """Our Django side, where this process is part of a Django project."""
    if "DJANGO_SETTINGS_MODULE" in os.environ or "django.conf" in sys.modules:
        try:
            found = importlib.import_module("wfcelery.integrations.django")
        except ImportError:
            return None
        return found if found.in_use() else None
    return None


def _with_framework(settings: dict[str, Any]) -> dict[str, Any]:
    """The settings, and below them what a Django project says. The environment stays above the project."""
    django = _django()
    if django is None:
        return settings
    said = {name: value for name, value in django.app_values().items() if f"WFCELERY_{name.upper()}" not in os.environ}
    return {**said, **settings}


_databases: dict[str, Database] = {}


def _database(installation: Installation) -> Database:
    url, django = installation.settings.database_url, _django()
    if url is None and django is not None:
        url = django.own_url()
    if url is None:
        raise Misconfigured("no database is set: wfcelery.install(app, database_url=...), or WFCELERY_DATABASE_URL")
    if url not in _databases:
        _databases[url] = Database(url, payloads.of(installation.settings))
    return _databases[url]


def _process(installation: Installation) -> Process:
    """This process's engine."""
    database, settings = _database(installation), installation.settings
    installation.caller.transactions = StepTransactions(database, settings, _borrowed())
    runtime = Runtime(database, settings, installation.caller, installation.bell, installation.router, installation.slots)
    return Process(runtime, owner=processes.identity() + "@" + processes.host(), alive=processes.lives)


def _borrowed() -> Callable[..., Any] | None:
    django = _django()
    return None if django is None else django.transactional


def _context(installation: Installation) -> Context:
    """What the verbs of this process work with."""
    context = Context(_database(installation), installation.settings, installation.bell, rings=installation.is_heard())
    django = _django()
    if django is not None:
        context.joiners.append(django.join)
    return context


def _expire(installation: Installation) -> None:
    """What beat asks for each minute. It takes a slot of the worker, so not for long: the next minute goes on."""
    expiring.expire(_context(installation), within=PATIENCE)


def _started(installation: Installation) -> None:
    """Before a worker takes its first message: the database answers, soon or after a while, and nothing is wrong."""
    until = monotonic() + WAIT_FOR_DATABASE
    while True:
        try:
            return _look_around(installation)
        except Unavailable as away:
            if monotonic() > until:
                raise
            log.warning("%s; the worker waits for it", away)
            sleep(1.0)


def _look_around(installation: Installation) -> None:
    """The tables are there, and nothing this worker knows is wrong."""
    database = _database(installation)
    migrations.check(database)
    compile_all(database.dialect)
    registry.load_built_in()
    StepTransactions(database, installation.settings).refuse_levels(registry)
    wrong = definitions.check_code(None)
    if wrong:
        raise DefinitionProblems("this worker's code", wrong)
    definitions.store_triggered(_context(installation))
    folder = installation.settings.definitions
    if folder is not None:
        publishing.publish_folder(_context(installation), folder)
