"""Opening a store: connecting, checking that the database is ours, migrating it.

The revision that this version writes is `HEAD`. An empty database is created, an older one migrated, a newer or
foreign one refused before anything is written to it.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event, inspect, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, DatabaseError, NoSuchModuleError, SQLAlchemyError
from sqlalchemy.pool import StaticPool

from agenttts.errors import StoreError

HEAD = "0002"
_BUSY_TIMEOUT_MS = 30_000


def open_engine(url: str) -> Engine:
    """An engine on a database that has this version's schema.

    Args:
        url: A SQLAlchemy URL, or the path of a SQLite file.

    Raises:
        StoreError: When the database cannot be opened, is not an agenttts store, or is newer than this version.
    """
    try:
        if "://" not in url:
            Path(url).expanduser().resolve().parent.mkdir(parents=True, exist_ok=True)
            url = f"sqlite:///{Path(url).expanduser()}"
        engine = _connect(url)
        with engine.connect() as connection:
            revision = _revision(connection, url)
    except (DatabaseError, ArgumentError, NoSuchModuleError, ImportError, OSError, ValueError) as error:
        raise StoreError(f"cannot open the store {_shown(url)}: {_reason(error)}") from error
    if revision != HEAD:
        _migrate(engine, url)
    return engine


def _connect(url: str) -> Engine:
    if url in ("sqlite://", "sqlite:///:memory:"):
        return create_engine(url, poolclass=StaticPool, connect_args={"check_same_thread": False})
    engine = create_engine(url)
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _configure_sqlite)
    return engine


def _configure_sqlite(connection: sqlite3.Connection, _: Any) -> None:
    # WAL lets readers go on while a search writes; NORMAL keeps every commit safe against a killed process.
    connection.execute(f"PRAGMA busy_timeout={_BUSY_TIMEOUT_MS}")
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=NORMAL")


def _revision(connection: Connection, url: str) -> str | None:
    tables = set(inspect(connection).get_table_names())
    if not tables:
        return None
    if not {"alembic_version", "studies", "samples"} <= tables:
        raise StoreError(f"{_shown(url)} is a database, but not an agenttts store: give another --store")
    revision = connection.execute(text("SELECT version_num FROM alembic_version")).scalar_one()
    if revision > HEAD:
        raise StoreError(
            f"the store {_shown(url)} was written by a newer agenttts (schema {revision}, this version knows "
            f"{HEAD}): upgrade agenttts or give another --store"
        )
    return str(revision)


def _migrate(engine: Engine, url: str) -> None:
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    try:
        with engine.begin() as connection:
            _lock(connection)
            if _revision(connection, url) != HEAD:  # another process may have been faster
                config.attributes["connection"] = connection
                command.upgrade(config, "head")
    except SQLAlchemyError as error:
        raise StoreError(f"cannot migrate the store {_shown(url)}: {_reason(error)}") from error


def _lock(connection: Connection) -> None:
    """Let no other process migrate meanwhile."""
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql("BEGIN IMMEDIATE")
    else:
        connection.execute(text("SELECT pg_advisory_xact_lock(20250801)"))


@contextmanager
def transaction(engine: Engine) -> Iterator[Connection]:
    """The one place where transactions commit, roll back and translate errors."""
    try:
        with engine.begin() as connection:
            yield connection
    except DatabaseError as error:
        raise refused(engine, error) from error


def refused(engine: Engine, error: DatabaseError) -> StoreError:
    """The database's own complaint as one sentence."""
    return StoreError(f"the store {_shown(engine.url)} refused: {_reason(error)}")


def _shown(url: str | URL) -> str:
    """The URL without anything that may be a secret: no password, no query."""
    try:
        return make_url(url).set(query={}).render_as_string(hide_password=True).removeprefix("sqlite:///")
    except (ArgumentError, ValueError):
        return "given by its URL"


def _reason(error: Exception) -> str:
    cause = getattr(error, "orig", None) or error
    return str(cause).strip().splitlines()[0] if str(cause).strip() else type(cause).__name__
