"""Column types that hold the same on SQLite and PostgreSQL, whatever a model, a server or a time zone puts in."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import JSON, DateTime, Dialect, String, Text
from sqlalchemy.types import TypeDecorator

from agenttts._util.text import storable
from agenttts.pipeline.operator import TokenLogprobs


class PlainText(TypeDecorator[str]):
    """Text of any length, `storable`: what was paid for is kept, whatever is in it."""

    impl: type[String] = Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        if value is None:
            return None
        return storable(value)[: getattr(self.impl, "length", None)]


class Label(PlainText):
    """A name that only describes: cut where it is too long for its column, which PostgreSQL would reject."""

    impl = String
    cache_ok = True


class Logprobs(TypeDecorator[tuple[TokenLogprobs, ...]]):
    """Log probabilities of a sample's tokens; null where there are none."""

    impl = JSON(none_as_null=True)
    cache_ok = True

    def process_bind_param(self, value: tuple[TokenLogprobs, ...] | None, dialect: Dialect) -> Any:
        return value or None

    def process_result_value(self, value: Any, dialect: Dialect) -> tuple[TokenLogprobs, ...]:
        return tuple(tuple((token, float(each)) for token, each in told) for told in value or ())


class UtcTime(TypeDecorator[datetime]):
    """A point in time, in UTC: SQLite gives it back without a zone, PostgreSQL in the zone of its session."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
