"""The stored half of the sample pool: ordered samples by key, claims, and the purchases ledger."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from functools import cached_property
from typing import Any

from sqlalchemy import Connection, Engine, Float, bindparam, delete, func, insert, literal_column, or_, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.pool import StaticPool

from agenttts.db import _schema as t
from agenttts.db._beside import (
    AddCall,
    ClaimCall,
    ReadCall,
    ReleaseCall,
    RenewCall,
    SampleCall,
    SamplesBeside,
    StoreThread,
    TakeCall,
)
from agenttts.db._engine import read, translated, write
from agenttts.db._spends import charge
from agenttts.llm.samples import AwaitedSamples, Held, ImmediateSamples, Sample, Spend, StoredPrompt

# Built once: a search runs each of these thousands of times, and building costs more than running.
_READ = (
    select(
        t.prompts.c.key,
        t.samples.c.position,
        t.prompts.c.prompt_tokens,
        t.samples.c.text,
        t.samples.c.completion_tokens,
        t.samples.c.ended,
        t.samples.c.logprobs,
    )
    .join(t.samples, t.samples.c.key == t.prompts.c.key)
    .where(t.samples.c.position < bindparam("limit"))
    .order_by(t.prompts.c.key, t.samples.c.position)
)
_READ_SOME = _READ.where(t.prompts.c.key.in_(bindparam("wanted", expanding=True)))
_READ_ONE = _READ.where(t.prompts.c.key == bindparam("wanted"))
"""A third less time than a list that holds one key."""
_RELEASE = delete(t.claims).where(t.claims.c.key == bindparam("wanted"), t.claims.c.owner == bindparam("claimant"))
_CHARGE = insert(t.purchases)
_AT_ONCE = 500
"""Keys that one statement names; SQLite's limit is about twice as many where it is old."""

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
        self._renew = (
            update(t.claims)
            .where(t.claims.c.owner == bindparam("claimant"))
            .values(expires=now + bindparam("seconds", type_=Float))
        )

    @cached_property
    def thread(self) -> StoreThread | None:
        """What makes calls beside the event loop; None in memory, whose one connection threads cannot share."""
        return None if isinstance(self._engine.pool, StaticPool) else StoreThread(self.together)

    @cached_property
    def beside(self) -> AwaitedSamples:
        """See `SharedSamples`."""
        return ImmediateSamples(self) if self.thread is None else SamplesBeside(self.thread)

    def close(self) -> None:
        """Wait for what was asked beside the event loop."""
        if self.thread is not None:
            self.thread.close()

    def read(self, key: str, limit: int) -> Held:
        """What there is of the first `limit` samples of a key."""
        held: Held = self.together([ReadCall(key, limit)])[0]
        return held

    def claim(self, key: str, owner: str, seconds: float, limit: int = 0) -> Held | None:
        """Take or renew the right to pay for samples of a key; None while another has it. Expired claims are free.

        Returns:
            What there is of the first `limit` samples, now that nobody else adds to them.
        """
        held: Held | None = self.together([ClaimCall(key, owner, seconds, limit)])[0]
        return held

    def release(self, key: str, owner: str) -> None:
        """Give a claim back."""
        self.together([ReleaseCall(key, owner)])

    def add(
        self, prompt: StoredPrompt, start: int, samples: Sequence[Sample], *, spend: Spend, study_id: int | None
    ) -> Spend | None:
        """Append samples from position `start` on, and enter what they cost into the ledger, in one transaction.

        Returns:
            See `SampleStore.add`.
        """
        paid: Spend | None = self.together([AddCall(prompt, start, samples, spend, study_id)])[0]
        return paid

    def together(self, calls: Sequence[SampleCall]) -> list[Any]:
        """What each of these calls returns; no two of them are of one key.

        First one transaction reads, for which nobody has to wait. What then is left to be written is another one.
        """
        looked_up = {call.key: call.limit for call in calls if isinstance(call, ReadCall | TakeCall)}
        found = read(self._engine, lambda connection: _held(connection, looked_up)) if looked_up else {}
        # In one order everywhere: else two processes could wait for one another's rows.
        left = sorted((call for call in calls if _is_left(call, found)), key=lambda call: call.key)
        granted = write(self._engine, lambda connection: self._written(connection, left)) if left else {}
        written = {call.key for call in left}
        return [(granted if call.key in written else found).get(call.key) for call in calls]

    def _written(self, connection: Connection, calls: Sequence[SampleCall]) -> dict[str, Held | Spend]:
        """Key -> what is held, of the claims that are granted; what its study has paid for, of samples added."""
        claims = [call for call in calls if isinstance(call, ClaimCall | TakeCall)]
        granted = self._granted(connection, claims)
        if renewed := [call for call in calls if isinstance(call, RenewCall)]:
            connection.execute(self._renew, [{"claimant": call.owner, "seconds": call.seconds} for call in renewed])
        added = [call for call in calls if isinstance(call, AddCall)]
        if added:
            connection.execute(self._add_prompt, [vars(call.prompt) for call in added])
            connection.execute(self._add_samples, [row for call in added for row in _sample_rows(call)])
            connection.execute(_CHARGE, [_ledger_row(call) for call in added])
        if released := [call for call in calls if isinstance(call, ReleaseCall)]:
            connection.execute(_RELEASE, [{"wanted": call.key, "claimant": call.owner} for call in released])
        held = _held(connection, {call.key: call.limit for call in claims if call.key in granted})
        return {**held, **_charged(connection, added)}

    def _granted(self, connection: Connection, claims: Sequence[ClaimCall | TakeCall]) -> set[str]:
        rows = [{"wanted": call.key, "claimant": call.owner, "seconds": call.seconds} for call in claims]
        return set(connection.execute(self._claim, rows).scalars()) if rows else set()

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


def _is_left(call: SampleCall, found: Mapping[str, Held]) -> bool:
    """Whether something is to be written for a call, after what is there has been read."""
    return not isinstance(call, ReadCall | TakeCall) or (isinstance(call, TakeCall) and bool(found[call.key].missing))


def _held(connection: Connection, wanted: Mapping[str, int]) -> dict[str, Held]:
    """What there is of the first samples of each key, so many of each."""
    rows: dict[str, list[Any]] = {key: [] for key in wanted}
    for limit in set(wanted.values()) - {0}:
        keys = [key for key, most in wanted.items() if most == limit]
        for start in range(0, len(keys), _AT_ONCE):
            some = keys[start : start + _AT_ONCE]
            asked, wanted_now = (_READ_ONE, some[0]) if len(some) == 1 else (_READ_SOME, some)
            for row in connection.execute(asked, {"wanted": wanted_now, "limit": limit}):
                rows[row[0]].append(row)
    return {key: _whole(rows[key], limit) for key, limit in wanted.items()}


def _whole(rows: Sequence[Any], limit: int) -> Held:
    """The samples up to a gap, of rows in their order."""
    whole = [Sample(row[3], row[4], row[5] or "", row[6]) for place, row in enumerate(rows) if row[1] == place]
    missing = [] if len(whole) == limit else sorted(set(range(limit)) - {row[1] for row in rows})
    return Held(rows[0][2] if rows else 0, whole, missing)


def _charged(connection: Connection, added: Sequence[AddCall]) -> dict[str, Spend]:
    """Key -> what the study that is charged has paid for in all."""
    bought: dict[int, Spend] = {}
    for call in added:
        if call.study_id is not None:
            bought[call.study_id] = bought.get(call.study_id, Spend()) + call.spend
    paid = {study: charge(connection, study, spend) for study, spend in sorted(bought.items())}
    return {call.key: paid[call.study_id] for call in added if call.study_id is not None}


def _sample_rows(call: AddCall) -> Iterator[dict[str, Any]]:
    for position, sample in enumerate(call.samples, call.start):
        yield {
            "key": call.key,
            "position": position,
            "text": sample.text,
            "completion_tokens": sample.completion_tokens,
            "ended": sample.ended or None,
            "logprobs": sample.logprobs,
        }


def _ledger_row(call: AddCall) -> dict[str, Any]:
    spend = call.spend
    return {
        "study_id": call.study_id,
        "model": call.prompt.model,
        "requests": spend.requests,
        "prompt_tokens": spend.prompt_tokens,
        "completion_tokens": spend.completion_tokens,
        "cached_prompt_tokens": spend.cached_prompt_tokens,
        "reasoning_tokens": spend.reasoning_tokens,
        "estimated_tokens": spend.estimated_tokens,
        "usd": spend.usd,
        "created": datetime.now(UTC),
    }
