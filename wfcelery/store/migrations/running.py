"""The revisions of `versions/`, run by Alembic over a connection that is given, inside its transaction."""

from __future__ import annotations

import logging
from pathlib import Path

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory

logging.getLogger("alembic.runtime").setLevel(logging.WARNING)  # two lines for each look would be in the log of whoever asks


def run(connection: sa.Connection) -> None:
    """Bring the tables to the newest revision."""
    config = _config()
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


def newest() -> str | None:
    """The newest revision there is a file of. Raises where there are two that know nothing of each other."""
    return ScriptDirectory.from_config(_config()).get_current_head()


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    return config
