"""Opening a store: connecting, checking that the database is ours, migrating it; and its transactions.

The revision that this version writes is `HEAD`. An empty database is created, an older one migrated, a newer or
foreign one refused before anything is written to it.

A transaction that writes takes SQLite's lock at once: what it reads first cannot be changed by another process before
it writes. One that meets a lock or loses its connection is repeated from its beginning, and that is said; what it does
must therefore have no effect but on the database. Where the connection was lost while PostgreSQL was told to commit,
the server is asked whether it has, so that nothing is written twice.
"""

from __future__ import annotations

import json
import logging
import math
import re
import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Generic, Literal, TypeVar

from pydantic_core import from_json
from sqlalchemy import URL, Connection, Engine, create_engine, event, inspect, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, OperationalError, SQLAlchemyError
from sqlalchemy.pool import StaticPool

from agenttts._util.hints import install
from agenttts._util.text import scrubbed, storable_data
from agenttts.errors import StoreError

HEAD = "0010"
TABLES = {"alembic_version", "studies", "samples"}
"""Tables that every store of ours has, whatever its version."""
_BUSY_TIMEOUT_MS = 2_000
_LOCKED_S = 300.0
"""How long a SQLite file that another process has locked is tried again."""
_CUT_S = 15.0
"""How long a server whose connection was cut is tried again."""
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.1, 2.0
_HOW_CONNECTED = re.compile(r"^connection (failed|is bad): (connection to server .*? failed: )?(fe_sendauth: )?")
_POSTGRESQL_DEFAULTS = {"connect_timeout": "10", "application_name": "agenttts"}
_PERHAPS_UNSTORABLE = re.compile(r"\\u(0000|d[89a-f])")
"""In JSON: NUL, or a surrogate, which may be half of a pair."""
_MISTYPED_URL = re.compile(
    r"\s*(?:(?:postgres\w*|postgre|psql|pgsql|pg|sqlite\d?|mysql|mariadb|mssql|oracle)(?:\+\w+)?\s*(?::|//|;|=)"
    r"|//.*@|[^/.~\\][^\\]*:[^\\]*@)",
    re.IGNORECASE | re.DOTALL,
)
"""What is meant as a URL and would pass for the path of a file: `postgresql:user:pw@host/db`, `user:pw@host`."""
_SHOWN_OPTIONS = ("host", "port")
_WRITES = {"agenttts_writes": True}
_LOCKED = ("locked", "busy")
_PASSING_STATES = ("08", "40", "57P0")
_CUT = re.compile("closed the connection|terminat|reset by peer")
"""How PostgreSQL's driver says, without a state, that a server was there."""

T = TypeVar("T")
_log = logging.getLogger(__name__)


def open_engine(url: str) -> Engine:
    """An engine on a database that has this version's schema.

    Args:
        url: The path of a SQLite file, or a URL: `postgresql://USER:PASSWORD@HOST:PORT/DATABASE`, `sqlite:///PATH`.

    Raises:
        StoreError: When the database cannot be opened, is not an agenttts store, or is newer than this version.
    """
    address = _address(url)
    try:
        engine = _connect(address)
    except ImportError as error:
        raise StoreError(
            f"cannot open the store {shown(address)}: a PostgreSQL store needs psycopg, {install('postgres')}"
        ) from error
    except OSError as error:  # there is no working folder that a path could be relative to
        raise StoreError(f"cannot open the store {shown(address)}: {error.strerror}") from error
    try:
        _prepare(engine)
    except BaseException:
        engine.dispose()
        raise
    return engine


def _address(url: str) -> URL:
    """What a user calls a store, as the URL of a driver that we know.

    Raises:
        StoreError: When it is a URL that is not written as one, which may hold a password and is not quoted, or one of
            another database.
    """
    if "://" not in url and not _MISTYPED_URL.match(url):
        return URL.create("sqlite", database=str(Path(url).expanduser()))
    try:
        address = make_url(url)
    except (ArgumentError, ValueError):
        address = None
    if address is None or _is_misread(address):
        raise StoreError(
            "the store's URL cannot be read: write postgresql://USER:PASSWORD@HOST:PORT/DATABASE, with the special "
            "characters of the password as %XX, or the path of a SQLite file"
        )
    backend = address.drivername.partition("+")[0]
    if backend in ("postgres", "postgresql"):
        return address.set(drivername="postgresql+psycopg", query={**_POSTGRESQL_DEFAULTS, **address.query})
    if backend == "sqlite":
        return address
    raise StoreError(
        f"cannot open the store {shown(address)}: give the path of a SQLite file or a postgresql:// URL as --store"
    )


def _is_misread(address: URL) -> bool:
    """Whether a part of a password may be where none belongs: in the host, the database or a SQLite file's server."""
    if address.drivername.startswith("sqlite"):
        return bool(address.host or address.username or address.password)
    return "@" in f"{address.host or ''}{address.database or ''}"


def location(url: str) -> str:
    """Where a store is, of the text that a user gave, without anything that may be a secret.

    Raises:
        StoreError: When it can be no store's.
    """
    return url if "://" not in url and not _MISTYPED_URL.match(url) else shown(_address(url))


def in_memory(url: str) -> bool:
    """Whether a store, as a user gave it, is kept nowhere.

    Raises:
        StoreError: When the text can be no store's.
    """
    return _in_memory(_address(url))


def _in_memory(address: URL) -> bool:
    return address.drivername.startswith("sqlite") and address.database in (None, "", ":memory:")


def _connect(address: URL) -> Engine:
    if address.drivername.startswith("postgresql"):
        # Hours may pass between two uses: a connection that the server has dropped meanwhile is replaced.
        return create_engine(address, pool_pre_ping=True, **_JSON)
    if _in_memory(address):
        shared = {"poolclass": StaticPool, "connect_args": {"check_same_thread": False}}
        return create_engine(address, **_JSON, **shared)
    engine = create_engine(address, **_JSON)
    event.listen(engine, "connect", _configure_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _configure_sqlite(connection: sqlite3.Connection, _: Any) -> None:
    connection.isolation_level = None  # else Python's driver begins by itself, too late and without the lock
    # WAL lets readers go on while a search writes; NORMAL keeps every commit safe against a killed process.
    connection.execute(f"PRAGMA busy_timeout={_BUSY_TIMEOUT_MS}")
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=NORMAL")


def _begin_sqlite(connection: Connection) -> None:
    connection.exec_driver_sql(
        "BEGIN IMMEDIATE" if connection.get_execution_options().get("agenttts_writes") else "BEGIN"
    )


def _plain_json(value: Any) -> str:
    """JSON as PostgreSQL insists on: NaN and infinity, which JSON lacks, become null, and every text is storable."""
    try:
        written = json.dumps(value, allow_nan=False)
    except ValueError:
        value = _finite(value)
        written = json.dumps(value, allow_nan=False)
    return json.dumps(storable_data(value), allow_nan=False) if _PERHAPS_UNSTORABLE.search(written) else written


def read_json(written: str | bytes, *, kept: Literal["all", "keys"] = "all") -> Any:
    """JSON by the quickest reader that knows the text; half a surrogate, as others write it, is for Python's own.

    Args:
        written: The text.
        kept: Which of its short texts are looked up among those read before, so that equal ones are one object.
    """
    try:
        return from_json(written, cache_strings=kept)
    except ValueError:
        return json.loads(written)


_JSON: Mapping[str, Any] = {"json_serializer": _plain_json, "json_deserializer": read_json}


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _prepare(engine: Engine) -> None:
    """Give the database this version's schema, unless it has it, or is not ours to change."""
    try:
        if engine.dialect.name == "sqlite" and engine.url.database:
            Path(engine.url.database).resolve().parent.mkdir(parents=True, exist_ok=True)
        _repeated(engine, lambda: _bring_up_to_date(engine), _is_cut_or_locked)
    except (SQLAlchemyError, OSError) as error:
        raise StoreError(f"cannot open the store {shown(engine.url)}: {_reason(error, engine.url)}") from error


def _bring_up_to_date(engine: Engine) -> None:
    with engine.connect() as connection:
        revision = _revision(connection)
    if revision != HEAD:
        _migrate(engine)


def _revision(connection: Connection) -> str | None:
    where, tables = shown(connection.engine.url), set(inspect(connection).get_table_names())
    if not tables:
        return None
    if not tables >= TABLES:
        raise StoreError(f"{where} is a database, but not an agenttts store: give another --store")
    revision = connection.execute(text("SELECT version_num FROM alembic_version")).scalar_one()
    if revision > HEAD:
        raise StoreError(
            f"the store {where} was written by a newer agenttts (schema {revision}, this version knows {HEAD}): "
            "upgrade agenttts or give another --store"
        )
    return str(revision)


def _migrate(engine: Engine) -> None:
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    with engine.execution_options(**_WRITES).begin() as connection:
        _lock(connection)
        if _revision(connection) != HEAD:  # another process may have been faster
            config.attributes["connection"] = connection
            command.upgrade(config, "head")


def _lock(connection: Connection) -> None:
    """Let no other process migrate meanwhile; a SQLite file is locked already."""
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(20250801)"))


def read(engine: Engine, work: Callable[[Connection], T]) -> T:
    """What one transaction that only reads returns.

    Raises:
        StoreError: On a complaint of the database.
    """
    return _transact(engine, work)


def write(engine: Engine, work: Callable[[Connection], T]) -> T:
    """What one transaction that writes returns; on SQLite nobody else writes from its beginning on.

    Raises:
        StoreError: On a complaint of the database.
    """
    return _transact(engine.execution_options(**_WRITES), work)


def _transact(engine: Engine, work: Callable[[Connection], T]) -> T:
    """The one place where transactions commit, roll back, are repeated and translate errors."""
    attempt = _Attempt(work)

    def once() -> T:
        with engine.begin() as connection:
            result = attempt(connection)
        return result

    try:
        return _repeated(engine, once, _may_pass)
    except DBAPIError as error:
        raise StoreError(f"the store {shown(engine.url)} refused: {_reason(error, engine.url)}") from error


def _repeated(engine: Engine, once: Callable[[], T], may_pass: Callable[[DBAPIError], bool]) -> T:
    """What a function returns that is called again while its error may pass, which is said."""
    started, pause = time.monotonic(), _FIRST_PAUSE_S
    while True:
        try:
            return once()
        except DBAPIError as error:
            waited = time.monotonic() - started
            if not may_pass(error) or waited > (_LOCKED_S if engine.dialect.name == "sqlite" else _CUT_S):
                raise
            if pause == _FIRST_PAUSE_S:
                _log.warning("the store %s is tried again: %s", shown(engine.url), _reason(error, engine.url))
        time.sleep(pause)
        pause = min(2 * pause, _LONGEST_PAUSE_S)


class _Attempt(Generic[T]):
    """What one transaction does, at most once though its commit may not be acknowledged.

    Args:
        work: What it does.
    """

    def __init__(self, work: Callable[[Connection], T]) -> None:
        self._work = work
        self._done: tuple[T, int] | None = None
        """What it has returned, and the server's number of the transaction, once that was to be committed."""

    def __call__(self, connection: Connection) -> T:
        """Do it, unless an earlier call has and was committed."""
        if self._done is not None and _is_committed(connection, self._done[1]):
            return self._done[0]
        self._done = None
        result = self._work(connection)
        if connection.dialect.name == "postgresql" and connection.get_execution_options().get("agenttts_writes"):
            self._done = result, int(connection.execute(text("SELECT txid_current()")).scalar_one())
        return result


def _is_committed(connection: Connection, number: int) -> bool:
    """Whether an earlier transaction was committed; it is waited for while the server has not ended it."""
    asked, started = text("SELECT txid_status(:number)"), time.monotonic()
    while (status := connection.execute(asked, {"number": number}).scalar_one()) == "in progress":
        if time.monotonic() - started > _CUT_S:
            raise StoreError(f"the store {shown(connection.engine.url)} does not end a transaction that was cut off")
        time.sleep(_FIRST_PAUSE_S)
    return bool(status == "committed")


@contextmanager
def translated(engine: Engine) -> Iterator[None]:
    """For reading row by row, which cannot be repeated: a complaint of the database is a StoreError."""
    try:
        yield
    except DBAPIError as error:
        raise StoreError(f"the store {shown(engine.url)} refused: {_reason(error, engine.url)}") from error


def _may_pass(error: DBAPIError) -> bool:
    """Whether the database may do the same in a moment: another process has the lock, or the connection was cut."""
    if error.connection_invalidated:
        return True
    if not isinstance(error, OperationalError):
        return False
    if isinstance(error.orig, sqlite3.Error):
        return any(word in str(error.orig) for word in _LOCKED)
    # PostgreSQL: no state, the server was not even reached; else a shutdown, a deadlock or a conflict.
    state = getattr(error.orig, "sqlstate", None)
    return state is None or state.startswith(_PASSING_STATES)


def _is_cut_or_locked(error: DBAPIError) -> bool:
    """Whether what is being opened is there: a server that cannot be reached at all is better told at once."""
    reached = isinstance(error.orig, sqlite3.Error) or getattr(error.orig, "sqlstate", None) is not None
    cut = error.connection_invalidated or _CUT.search(str(error.orig)) is not None
    return (reached or cut) and _may_pass(error)


def shown(address: URL) -> str:
    """Where a store is, without anything that may be a secret: a path for SQLite, a URL without password otherwise."""
    if address.drivername.startswith("sqlite"):
        return address.database or "sqlite://"
    options = {name: value for name, value in address.query.items() if name in _SHOWN_OPTIONS}
    plain = address.set(drivername=address.drivername.removesuffix("+psycopg"), query=options)
    return plain.render_as_string(hide_password=True)


def _reason(error: Exception, address: URL) -> str:
    """The database's own complaint as one sentence, without a secret of the URL that it was reached by."""
    cause = getattr(error, "orig", None) or error
    first_line = next(iter(str(cause).strip().splitlines()), type(cause).__name__)
    # PostgreSQL's driver puts how it connected before what is the matter.
    what = first_line.rpartition("FATAL:  ")[2]
    return scrubbed(_HOW_CONNECTED.sub("", what), _secrets(address))


def _secrets(address: URL) -> list[str]:
    options = [value for name, value in address.query.items() if name not in (*_SHOWN_OPTIONS, *_POSTGRESQL_DEFAULTS)]
    values = [part for value in options for part in ([value] if isinstance(value, str) else value)]
    return [secret for secret in (address.password, *values) if secret]
