"""What columns are made of: moments, stored values, words, and whose row it is."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Dialect
from sqlalchemy.types import TypeDecorator, TypeEngine

from wfcelery.core.states import RunStatus, StepStatus, WaitStatus

metadata = sa.MetaData(
    naming_convention={
        "ix": "%(table_name)s_%(column_0_N_name)s",
        "pk": "%(table_name)s_pk",
        "uq": "%(table_name)s_%(column_0_N_name)s_key",
    }
)


class Instant(TypeDecorator[datetime]):
    """A moment in UTC."""

    impl = sa.Float
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        return dialect.type_descriptor(sa.DateTime(timezone=True) if dialect.name == "postgresql" else sa.Float())

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> Any:
        return value if value is None or dialect.name == "postgresql" else value.timestamp()

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        if value is None or isinstance(value, datetime):
            return value
        return datetime.fromtimestamp(value, UTC)


class Value(TypeDecorator[str]):
    """JSON text of what an author made. Whatever is bound to it, and read of it, goes by `store.payloads`."""

    impl = sa.Text
    cache_ok = True

    def __init__(self, what: str = "value") -> None:
        super().__init__()
        self.what = what


def one_of(column: str, words: type[RunStatus] | type[StepStatus] | type[WaitStatus] | tuple[str, ...], name: str) -> sa.CheckConstraint:
    """A column that is one of these words."""
    return sa.CheckConstraint(f"{column} in ({', '.join(repr(str(word)) for word in words)})", name=name)


def word_list(words: frozenset[RunStatus] | frozenset[StepStatus]) -> str:
    """The words as SQL lists them."""
    return "(" + ", ".join(repr(str(word)) for word in sorted(words)) + ")"


def organization() -> sa.Column[str]:
    """Whose row it is."""
    return sa.Column("organization_id", sa.Text, nullable=False)


def only(where: str) -> dict[str, Any]:
    """An index of some rows alone, for `sa.Index(..., **only("status = 'open'"))`."""
    return {"postgresql_where": sa.text(where), "sqlite_where": sa.text(where)}
