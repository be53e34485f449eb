"""Reading labelled examples."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from agenttts._util.files import read_regular
from agenttts._util.strict_json import UnfitJSON, read_data, require_flat
from agenttts._util.text import storable_data
from agenttts.errors import ConfigError
from agenttts.pipeline import Example


def load_examples(source: Iterable[Example] | str | Path, *, prefix: str = "") -> list[Example]:
    """Examples from a JSON Lines file or from mappings; one without an `id` gets its number, from 1, after `prefix`.

    Texts that no database and no server takes (a NUL, half a surrogate pair) are made storable here, ids included.

    Examples:
        >>> from agenttts.environments import load_examples
        >>> load_examples([{"question": "Is 7 odd?", "gold": "yes"}])
        [{'id': '1', 'question': 'Is 7 odd?', 'gold': 'yes'}]

    Raises:
        ConfigError: When the file is missing, or a line or an example is not an object (the message says which).
    """
    rows = [row for _, row in read_lines(Path(source))] if isinstance(source, str | Path) else list(source)
    for number, row in enumerate(rows, start=1):
        _require_example(row, f"example {number}")
    named = [row if "id" in row else {"id": f"{prefix}{number}", **row} for number, row in enumerate(rows, start=1)]
    return [storable_data(row) for row in named]


def read_lines(path: Path) -> list[tuple[int, dict[str, Any]]]:
    """The objects of a JSON Lines file, each with the number of its line.

    Raises:
        ConfigError: When the file cannot be read, or a line is not a JSON object.
    """
    # Split on newlines alone: JSON strings may hold other Unicode line separators.
    lines = read_text(path).split("\n")
    return [(number, _parse(line, path, number)) for number, line in enumerate(lines, start=1) if line.strip()]


def read_text(path: Path) -> str:
    """The text of an examples file.

    Raises:
        ConfigError: When it is missing, or is not UTF-8.
    """
    try:
        return read_regular(path).decode("utf-8-sig").replace("\r\n", "\n").replace("\r", "\n")
    except OSError as error:
        where = "" if path.is_absolute() else f" (looked for as {str(path.absolute())!r})"
        raise ConfigError(f"cannot read the examples file {str(path)!r}{where}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"the examples file {str(path)!r} is not UTF-8 text: {error.reason}") from error
    except ValueError as error:  # no path at all
        raise ConfigError(f"cannot read the examples file {str(path)!r}: {error}") from error


def _parse(line: str, path: Path, number: int) -> dict[str, Any]:
    try:
        row = read_data(line)
    except json.JSONDecodeError as error:
        raise ConfigError(f"{path}, line {number}: not valid JSON ({error.msg} at column {error.colno})") from error
    except UnfitJSON as error:
        raise ConfigError(f"{path}, line {number}: {error}") from error
    if not isinstance(row, dict):
        raise ConfigError(f"{path}, line {number}: expected a JSON object, found {type(row).__name__}")
    return row


def _require_example(row: Any, where: str) -> None:
    if not isinstance(row, Mapping):
        raise ConfigError(f"{where} must be a mapping of its fields, not {repr(row)[:60]}")
    try:
        require_flat(dict(row))
    except UnfitJSON as error:
        raise ConfigError(f"{where}: {error}") from error
