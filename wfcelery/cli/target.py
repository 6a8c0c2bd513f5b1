"""Which database a command speaks to: `--database`, the environment, or what the app of `-A` says."""

from __future__ import annotations

import importlib
import importlib.util
import os
from types import ModuleType
from typing import TYPE_CHECKING, Any

import click

from wfcelery.cli.lazy import Target
from wfcelery.errors import Misconfigured

if TYPE_CHECKING:
    from wfcelery.service.context import Context

ATTRIBUTES = ("app", "celery", "celery_app")


def target(ctx: click.Context) -> Target:
    """What was said before the verb."""
    return ctx.find_object(Target) or Target()


def context(ctx: click.Context) -> Context:
    """The context of this command line."""
    from wfcelery.service.context import Context, configure, current, from_environment
    from wfcelery.settings import Settings
    from wfcelery.store import payloads
    from wfcelery.store.database import Database

    given = target(ctx)
    if given.database:
        os.environ["WFCELERY_DATABASE_URL"] = given.database
    found = None if given.app is None else load_code(given.app)
    if getattr(found, "wfcelery", None) is not None:
        return current()
    if given.database:
        url = given.database
        settings = Settings.read()
        configure(lambda: Context(Database(url, payloads.of(settings)), settings, rings=False))
        return current()
    if found is not None and not isinstance(found, ModuleType):
        load_app(found)
    if "DJANGO_SETTINGS_MODULE" in os.environ:
        importlib.import_module("wfcelery.integrations.django").configure()
        return current()
    return from_environment()


def load_app(where: Any) -> Any:
    """The Celery app of `-A module[:attribute]`, which calls `wfcelery.install` on its way. Raises Misconfigured."""
    app = find_app(where)
    if isinstance(app, ModuleType):
        raise Misconfigured(f"-A {where}: {app.__name__} has no Celery app called {', '.join(ATTRIBUTES)}")
    if getattr(app, "wfcelery", None) is None:
        raise Misconfigured(f"-A {where}: wfcelery.install(app) is not called where this app is made")
    return app


def load_code(where: Any) -> Any:
    """What `find_app` finds, with every module loaded that a worker of it would load."""
    found = find_app(where)
    if hasattr(found, "loader"):
        found.loader.import_default_modules()
    return found


def find_app(where: Any) -> Any:
    """The app of `module[:attribute]`, or the module itself where none is in it. Raises Misconfigured."""
    if not isinstance(where, str):
        return where
    name, _, attribute = where.partition(":")
    module = _import(where, name)
    if attribute:
        if not hasattr(module, attribute):
            raise Misconfigured(f"-A {where}: {name} has no {attribute}")
        return getattr(module, attribute)
    found = _in(module)
    if found is None and hasattr(module, "__path__") and importlib.util.find_spec(f"{name}.celery") is not None:
        found = _in(_import(where, f"{name}.celery"))
    return module if found is None else found


def _in(module: ModuleType) -> Any:
    candidates = (getattr(module, name, None) for name in ATTRIBUTES)
    return next((found for found in candidates if hasattr(found, "worker_main")), None)


def _import(where: str, name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as problem:
        raise Misconfigured(f"-A {where[:100]}: {problem}"[:300]) from problem
    except (TypeError, ValueError) as problem:  # "", ".." and such, or an error of the module's own
        if name.strip(".") and "\x00" not in name and not name.startswith("."):
            raise
        raise Misconfigured(f"-A {where[:100]}: write it as module or module:attribute") from problem
