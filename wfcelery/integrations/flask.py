"""Flask: one call after the Celery app is made.

Steps run in the app's context as its other tasks do, because each is traced as a task of the app's own class.
"""

from __future__ import annotations

from typing import Any

from flask import Flask

from wfcelery.errors import Misconfigured
from wfcelery.integrations.installing import install


def init_app(app: Flask, celery: Any = None, **settings: Any) -> None:
    """Install wfcelery on the Celery app of a Flask app.

    Settings come from the call, then `app.config["WFCELERY"]`; the database is `SQLALCHEMY_DATABASE_URI`
    unless they name one. Start runs with `session=db.session` to make them part of a request's transaction.
    """
    found = celery if celery is not None else app.extensions.get("celery")
    if found is None:
        raise Misconfigured("this Flask app has no app.extensions['celery']; pass the Celery app as the second argument")
    values = {**app.config.get("WFCELERY", {}), **settings}
    if "database_url" not in values and app.config.get("SQLALCHEMY_DATABASE_URI"):
        values["database_url"] = str(app.config["SQLALCHEMY_DATABASE_URI"])
    app.extensions["wfcelery"] = install(found, **values)
