"""Column types that hold the same on SQLite and PostgreSQL, whatever a model, a server or a time zone puts in."""

from __future__ import annotations

from datetime import UTC, datetime

from sqlalchemy import DateTime, Dialect, String, Text
from sqlalchemy.types import TypeDecorator

from agenttts._util.text import storable


class PlainText(TypeDecorator[str]):
    """Text of any length, `storable`: what was paid for is kept, whatever is in it."""

    impl: type[String] = Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        if value is None:
            return None
        return storable(value)[: getattr(self.impl, "length", None)]


class Label(PlainText):
    """A name that only describes: cut where it is too long for its column, which PostgreSQL would refuse."""

    impl = String
    cache_ok = True


class UtcTime(TypeDecorator[datetime]):
    """A point in time, in UTC: SQLite gives it back without a zone, PostgreSQL in the zone of its session."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
