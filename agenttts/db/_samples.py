"""The stored half of the sample pool: ordered samples by key, claims, and the purchases ledger."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Engine, delete, func, insert, or_, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import IntegrityError

from agenttts.db import _schema as t
from agenttts.db._engine import transaction
from agenttts.trial import Spend


@dataclass(frozen=True)
class Sample:
    """One completion that was bought."""

    text: str
    completion_tokens: int


@dataclass(frozen=True)
class StoredPrompt:
    """What a key stands for, kept readable."""

    key: str
    model: str
    namespace: str
    messages: Sequence[Mapping[str, str]]
    sampling: Mapping[str, Any]
    prompt_tokens: int


class SampleTable:
    """Samples of one key are an ordered list: the first S of them answer a request for S."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def read(self, key: str, limit: int) -> tuple[int, list[Sample]]:
        """The prompt tokens (0 when the key is new) and the first `limit` samples of a key."""
        statement = (
            select(t.prompts.c.prompt_tokens, t.samples.c.text, t.samples.c.completion_tokens)
            .join(t.samples, t.samples.c.key == t.prompts.c.key)
            .where(t.prompts.c.key == key, t.samples.c.position < limit)
            .order_by(t.samples.c.position)
        )
        with self._engine.connect() as connection:
            rows = connection.execute(statement).all()
        return (rows[0][0] if rows else 0), [Sample(row[1], row[2]) for row in rows]

    def claim(self, key: str, owner: str, seconds: float) -> bool:
        """Take the right to buy samples of a key, unless another process holds it; expired claims are free."""
        now = time.time()
        try:
            with self._engine.begin() as connection:
                stale = or_(t.claims.c.expires < now, t.claims.c.owner == owner)
                connection.execute(delete(t.claims).where(t.claims.c.key == key, stale))
                connection.execute(insert(t.claims).values(key=key, owner=owner, expires=now + seconds))
        except IntegrityError:
            return False
        return True

    def release(self, key: str, owner: str) -> None:
        """Give a claim back."""
        with transaction(self._engine) as connection:
            connection.execute(delete(t.claims).where(t.claims.c.key == key, t.claims.c.owner == owner))

    def add(
        self, prompt: StoredPrompt, start: int, samples: Sequence[Sample], *, spend: Spend, study_id: int | None
    ) -> None:
        """Append samples from position `start` on, and enter the purchase into the ledger, in one transaction."""
        rows = [
            {"key": prompt.key, "position": start + i, "text": s.text, "completion_tokens": s.completion_tokens}
            for i, s in enumerate(samples)
        ]
        with transaction(self._engine) as connection:
            connection.execute(self._insert_new(t.prompts), [vars(prompt)])
            connection.execute(self._insert_new(t.samples), rows)
            connection.execute(insert(t.purchases).values(**_ledger_row(prompt.model, spend, study_id)))

    def count(self) -> int:
        """Number of samples in the pool."""
        with self._engine.connect() as connection:
            return int(connection.execute(select(func.count()).select_from(t.samples)).scalar_one())

    def _insert_new(self, table: Any) -> Any:
        dialect = postgresql if self._engine.dialect.name == "postgresql" else sqlite
        return dialect.insert(table).on_conflict_do_nothing()


def _ledger_row(model: str, spend: Spend, study_id: int | None) -> dict[str, Any]:
    return {
        "study_id": study_id,
        "model": model,
        "requests": spend.requests,
        "prompt_tokens": spend.prompt_tokens,
        "completion_tokens": spend.completion_tokens,
        "usd": spend.usd,
        "created": datetime.now(UTC),
    }
