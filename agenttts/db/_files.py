"""Finding stores among the files of a folder, without changing any of them."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

from agenttts.db._engine import TABLES

_SQLITE = b"SQLite format 3\0"


def stores_in(folder: Path) -> list[Path]:
    """The SQLite stores that lie in a folder, the last written first.

    Example:
        >>> from pathlib import Path
        >>> stores_in(Path("docs"))
        []
    """
    return sorted(filter(_is_store, folder.iterdir()), key=_written_s, reverse=True)


def _is_store(path: Path) -> bool:
    try:
        if not path.is_file():
            return False
        with path.open("rb") as file:
            if file.read(len(_SQLITE)) != _SQLITE:
                return False
        # Without a log there is nothing else to read, and opened like this SQLite makes none.
        mode = "mode=ro" if _log(path).exists() else "immutable=1"
        with closing(sqlite3.connect(f"file:{quote(os.fsencode(path))}?{mode}", uri=True)) as connection:
            names = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
    except (OSError, sqlite3.Error):
        return False  # whatever it is, it cannot be read as a store
    return {name for (name,) in names} >= TABLES


def _written_s(path: Path) -> float:
    """When a store was last written: while it is in use, that is its log."""
    return max(file.stat().st_mtime for file in (path, _log(path)) if file.exists())


def _log(path: Path) -> Path:
    return path.with_name(f"{path.name}-wal")
