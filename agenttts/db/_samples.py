"""The stored half of the sample pool: ordered samples by key, claims, and the purchases ledger."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, Engine, Float, bindparam, delete, func, insert, literal_column, or_, select
from sqlalchemy.dialects import postgresql, sqlite

from agenttts.db import _schema as t
from agenttts.db._engine import read, translated, write
from agenttts.llm.samples import Held, Sample, Spend, StoredPrompt

# Built once: a search runs each of these thousands of times, and building costs more than running.
_READ = (
    select(
        t.prompts.c.prompt_tokens,
        t.samples.c.text,
        t.samples.c.completion_tokens,
        t.samples.c.position,
        t.samples.c.ended,
        t.samples.c.logprobs,
    )
    .join(t.samples, t.samples.c.key == t.prompts.c.key)
    .where(t.prompts.c.key == bindparam("wanted"), t.samples.c.position < bindparam("limit"))
    .order_by(t.samples.c.position)
)
_RELEASE = delete(t.claims).where(t.claims.c.key == bindparam("wanted"), t.claims.c.owner == bindparam("claimant"))
_RELEASE_ALL = delete(t.claims).where(
    t.claims.c.key.in_(bindparam("wanted", expanding=True)), t.claims.c.owner == bindparam("claimant")
)
_AT_ONCE = 500
"""Keys that one statement names; SQLite's limit is about twice as many where it is old."""
_CHARGE = insert(t.purchases)

# Claims expire by the database's clock: those of the machines that share it may differ. Seconds since the epoch.
NOW = {
    "sqlite": "((julianday('now') - 2440587.5) * 86400.0)",
    "postgresql": "CAST(extract(epoch FROM clock_timestamp()) AS double precision)",
}


class SampleTable:
    """Samples of one key are an ordered list: the first S of them answer a request for S."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        dialect = postgresql if engine.dialect.name == "postgresql" else sqlite
        self._add_prompt = dialect.insert(t.prompts).on_conflict_do_nothing()
        self._add_samples = dialect.insert(t.samples).on_conflict_do_nothing()
        now = literal_column(NOW[engine.dialect.name], Float)
        asked = dialect.insert(t.claims).values(
            key=bindparam("wanted"), owner=bindparam("claimant"), expires=now + bindparam("seconds", type_=Float)
        )
        self._claim = asked.on_conflict_do_update(
            index_elements=[t.claims.c.key],
            set_={"owner": asked.excluded.owner, "expires": asked.excluded.expires},
            where=or_(t.claims.c.expires < now, t.claims.c.owner == asked.excluded.owner),
        ).returning(t.claims.c.key)

    def read(self, key: str, limit: int) -> Held:
        """What there is of the first `limit` samples of a key."""
        return read(self._engine, lambda connection: self._held(connection, key, limit))

    def claim(self, key: str, owner: str, seconds: float, limit: int = 0) -> Held | None:
        """Take or renew the right to pay for samples of a key; None while another has it. Expired claims are free.

        Returns:
            What there is of the first `limit` samples, now that nobody else adds to them.
        """

        def claimed(connection: Connection) -> Held | None:
            asked = {"wanted": key, "claimant": owner, "seconds": seconds}
            mine = connection.execute(self._claim, asked).first() is not None
            return self._held(connection, key, limit) if mine else None

        return write(self._engine, claimed)

    @staticmethod
    def _held(connection: Connection, key: str, limit: int) -> Held:
        rows = connection.execute(_READ, {"wanted": key, "limit": limit}).all()
        whole = [Sample(row[1], row[2], row[4] or "", row[5]) for place, row in enumerate(rows) if row[3] == place]
        missing = [] if len(whole) == limit else sorted(set(range(limit)) - {row[3] for row in rows})
        return Held(rows[0][0] if rows else 0, whole, missing)

    def release(self, key: str, owner: str) -> None:
        """Give a claim back."""
        given = {"wanted": key, "claimant": owner}
        write(self._engine, lambda connection: connection.execute(_RELEASE, given))

    def release_all(self, keys: Sequence[str], owner: str) -> None:
        """Give several claims back, in one transaction."""

        def released(connection: Connection) -> None:
            for start in range(0, len(keys), _AT_ONCE):
                connection.execute(_RELEASE_ALL, {"wanted": keys[start : start + _AT_ONCE], "claimant": owner})

        write(self._engine, released)

    def add(
        self, prompt: StoredPrompt, start: int, samples: Sequence[Sample], *, spend: Spend, study_id: int | None
    ) -> None:
        """Append samples from position `start` on, and enter what they cost into the ledger, in one transaction."""
        rows = [
            {
                "key": prompt.key,
                "position": start + i,
                "text": sample.text,
                "completion_tokens": sample.completion_tokens,
                "ended": sample.ended or None,
                "logprobs": sample.logprobs,
            }
            for i, sample in enumerate(samples)
        ]

        def added(connection: Connection) -> None:
            connection.execute(self._add_prompt, vars(prompt))
            connection.execute(self._add_samples, rows)
            connection.execute(_CHARGE, _ledger_row(prompt.model, spend, study_id))

        write(self._engine, added)

    def everything(self) -> Iterator[tuple[StoredPrompt, int, Sample]]:
        """Every sample with its prompt and position, prompt by prompt."""
        kept = t.samples.c
        columns = (*t.prompts.c, kept.position, kept.text, kept.completion_tokens, kept.ended, kept.logprobs)
        joined = select(*columns).join(t.samples, kept.key == t.prompts.c.key)
        with translated(self._engine), self._engine.connect() as connection:
            for row in connection.execute(joined.order_by(t.prompts.c.key, kept.position)):
                *prompt, position, text, tokens, ended, logprobs = row
                yield StoredPrompt(*prompt), position, Sample(text, tokens, ended or "", logprobs)

    def count(self) -> int:
        """Number of samples in the pool."""
        counted = select(func.count()).select_from(t.samples)
        return int(read(self._engine, lambda connection: connection.execute(counted).scalar_one()))


def _ledger_row(model: str, spend: Spend, study_id: int | None) -> dict[str, Any]:
    return {
        "study_id": study_id,
        "model": model,
        "requests": spend.requests,
        "prompt_tokens": spend.prompt_tokens,
        "completion_tokens": spend.completion_tokens,
        "cached_prompt_tokens": spend.cached_prompt_tokens,
        "reasoning_tokens": spend.reasoning_tokens,
        "estimated_tokens": spend.estimated_tokens,
        "usd": spend.usd,
        "created": datetime.now(UTC),
    }
