"""How large a store is, and making it smaller: samples that no study uses, and space that nothing takes.

A sample is used when the transcript of an example names its prompt: that of a trial, or of a check. Embeddings and
rewards are kept, since transcripts do not name them; and nothing is deleted while a study has allocations that were
still being evaluated, or trials of a version that kept no transcripts: what these use is not known.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Connection, Engine, Float, delete, exists, func, literal_column, select, text
from sqlalchemy.exc import SQLAlchemyError

from agenttts.db import _schema as t
from agenttts.db._engine import read, shown, translated, write
from agenttts.db._samples import NOW
from agenttts.errors import ConfigError, StoreError

_AT_ONCE = 500
_NOT_COMPLETIONS = ("embedding", "reward")


@dataclass(frozen=True)
class StoreSize:
    """What a store takes and holds."""

    bytes: int
    """On disk; 0 in memory."""
    studies: int
    """How many there are."""
    trials: int
    """Of all studies."""
    prompts: int
    """Different ones in the pool."""
    samples: int
    """Of all prompts."""


class Upkeep:
    """Measures a store, and makes it smaller."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def size(self) -> StoreSize:
        """What the store takes and holds."""
        tables = (t.studies, t.trials, t.prompts, t.samples)
        counted = [select(func.count()).select_from(table).scalar_subquery() for table in tables]
        row = read(self._engine, lambda connection: connection.execute(select(*counted)).one())
        return StoreSize(self._bytes(), *row)

    def _bytes(self) -> int:
        if self._engine.dialect.name == "postgresql":
            total = text("SELECT CAST(sum(pg_total_relation_size(oid)) AS bigint) FROM pg_class WHERE relkind = 'r' "
                         "AND relnamespace = CAST(current_schema() AS regnamespace)")  # fmt: skip
            return int(read(self._engine, lambda connection: connection.execute(total).scalar_one()))
        path = self._engine.url.database
        files = [Path(f"{path}{suffix}") for suffix in ("", "-wal", "-shm")] if path else []
        return sum(file.stat().st_size for file in files if file.exists())

    def prune(self) -> tuple[int, int]:
        """Delete the samples that no study uses, and their prompts: who wants them again pays again.

        Returns:
            How many prompts and samples these were.

        Raises:
            ConfigError: When what the studies use is not known, or a search is under way.
        """
        return write(self._engine, _pruned)

    def vacuum(self) -> int:
        """Give back to the disk what nothing takes any more.

        Returns:
            How many bytes fewer the store takes.

        Raises:
            StoreError: When the database cannot, as where the disk is full or somebody is writing.
        """
        before = self._bytes()
        if self._engine.dialect.name == "postgresql":
            with translated(self._engine), self._engine.connect() as connection:
                by_itself = connection.execution_options(isolation_level="AUTOCOMMIT")
                for table in t.metadata.sorted_tables:
                    by_itself.execute(text(f"VACUUM (FULL, ANALYZE) {table.name}"))
        else:
            self._vacuum_file()
        return max(before - self._bytes(), 0)

    def _vacuum_file(self) -> None:
        try:
            with closing(self._engine.raw_connection()) as connection:
                for statement in ("PRAGMA wal_checkpoint(TRUNCATE)", "VACUUM", "PRAGMA wal_checkpoint(TRUNCATE)"):
                    connection.cursor().execute(statement)
        except (SQLAlchemyError, sqlite3.Error) as error:
            raise StoreError(f"the store {shown(self._engine.url)} cannot be made smaller: {error}") from error


def _pruned(connection: Connection) -> tuple[int, int]:
    _require_known(connection)
    used = set(_drawn(connection))
    rows = connection.execute(select(t.prompts.c.key, t.prompts.c.sampling)).all()
    keys, samples = [key for key, sampling in rows if key not in used and not _is_kept(sampling)], 0
    for start in range(0, len(keys), _AT_ONCE):
        some = keys[start : start + _AT_ONCE]
        samples += connection.execute(delete(t.samples).where(t.samples.c.key.in_(some))).rowcount
        connection.execute(delete(t.prompts).where(t.prompts.c.key.in_(some)))
    return len(keys), samples


def _require_known(connection: Connection) -> None:
    """That it is known what every study uses.

    Raises:
        ConfigError: When it is not.
    """
    now = literal_column(NOW[connection.dialect.name], Float)
    if connection.execute(select(t.claims.c.key).where(t.claims.c.expires > now).limit(1)).first() is not None:
        raise ConfigError("a search is paying for samples of this store right now: prune it when that has ended")
    told = exists().where(t.transcripts.c.study_id == t.studies.c.id)
    silent = exists().where(t.trials.c.study_id == t.studies.c.id) & ~told
    unfinished = exists().where(t.proposals.c.study_id == t.studies.c.id)
    for doubtful, why in ((unfinished, "was stopped in the middle of a trial: run it to its end first"),
                          (silent, "does not tell which samples it used: an earlier version recorded it")):  # fmt: skip
        name = connection.execute(select(t.studies.c.name).where(doubtful).limit(1)).scalar_one_or_none()
        if name is not None:
            raise ConfigError(f"the store cannot be pruned: its study {name!r} {why}")


def _drawn(connection: Connection) -> Iterator[str]:
    """The keys that transcripts name."""
    told = select(t.transcripts.c.stages).execution_options(yield_per=_AT_ONCE)
    for (stages,) in connection.execute(told):
        for stage in stages:
            for drawn in stage["drawn"]:
                yield drawn["key"]


def _is_kept(sampling: object) -> bool:
    """Whether it is the sampling of what transcripts do not name."""
    extra = sampling.get("extra") if isinstance(sampling, dict) else None
    return isinstance(extra, dict) and any(extra.get(name) is True for name in _NOT_COMPLETIONS)
