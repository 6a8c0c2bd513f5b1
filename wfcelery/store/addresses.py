"""A database's address, as people write it and as SQLAlchemy takes it."""

from __future__ import annotations

from importlib.util import find_spec

import sqlalchemy as sa
from sqlalchemy.engine import URL, make_url

from wfcelery.errors import Misconfigured


def parsed(url: str) -> URL:
    """The URL with our driver. Raises Misconfigured for databases we do not speak."""
    try:
        found = make_url(url)
    except (sa.exc.ArgumentError, ValueError) as problem:
        raise Misconfigured("the database's address cannot be read: write postgresql://user@host/name or sqlite:///path") from problem
    if found.get_backend_name() in ("postgres", "postgresql"):
        if find_spec("psycopg") is None:
            raise Misconfigured("PostgreSQL needs its driver: pip install 'wfcelery[postgres]'")
        return found.set(drivername="postgresql+psycopg")
    if found.get_backend_name() == "sqlite":
        if found.database in (None, "", ":memory:"):
            raise Misconfigured("SQLite needs a file: every process of a fleet must see the same rows")
        return found.set(drivername="sqlite")
    raise Misconfigured(f"wfcelery keeps its tables in PostgreSQL or SQLite, not in {found.get_backend_name()}")
