"""Reading public datasets: rows of a file or of the Hugging Face Hub, each of which knows where it stands.

A file holds one JSON array, or one JSON object a line. A task takes the fields it needs through `Row`, so that a
malformed example is one sentence with file, place and field, before anything is paid for.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from agenttts._util.checks import Kind
from agenttts._util.hints import install
from agenttts._util.strict_json import UnfitJSON, read_data
from agenttts.environments.examples import read_lines, read_text
from agenttts.errors import ConfigError
from agenttts.pipeline import Example

SEARCHED = 50
"""Examples that the paper searches on: the first ones."""
HELD_OUT = 500
"""Examples that the paper tests on: those that follow, here as many as there are."""

TEXT_LIST = Kind("a list of texts", lambda value: isinstance(value, list) and all(isinstance(v, str) for v in value))
FULL_TEXT = Kind("a text that is not empty", lambda value: isinstance(value, str) and value.strip() != "")
LIST = Kind("a list", lambda value: isinstance(value, list))
_SPLITS = ("validation", "test", "train")
"""The split of a Hub dataset that is taken where none is named: the first of these."""
_SUFFIXES = (".json", ".jsonl")
_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+(:[\w.-]+){0,2}")


@dataclass(frozen=True)
class Row:
    """One example as published."""

    where: str
    """File and place, as errors name it."""
    fields: Mapping[str, Any]

    def get(self, field: str, kind: Kind, *, filled: bool = True) -> Any:
        """The value of a field.

        Args:
            field: Its name.
            kind: What it must hold.
            filled: Whether an empty list is rejected too.

        Raises:
            ConfigError: When it is missing, of another kind, or empty.
        """
        if field not in self.fields:
            raise self.error(field, f"is missing; the example has {', '.join(map(str, self.fields))}")
        value = self.fields[field]
        if not kind.holds(value):
            raise self.error(field, f"must be {kind.words}, not {repr(value)[:60]}")
        if filled and value == []:
            raise self.error(field, "is empty")
        return value

    def error(self, field: str, complaint: str) -> ConfigError:
        """The error about one of its fields."""
        return ConfigError(f"{self.where}: field {field!r} {complaint}")


class Split(NamedTuple):
    """Examples to search on, and others to check the winner on."""

    searched: list[Example]
    held_out: list[Example]


def split(examples: list[Example], *, searched: int = SEARCHED, held_out: int = HELD_OUT) -> Split:
    """The paper's split: the first examples are searched, those that follow are held out."""
    return Split(examples[:searched], examples[searched : searched + held_out])


def read_rows(data: str | None, *, task: str) -> list[Row]:
    """The rows of a dataset.

    Args:
        data: A path (.json: one array; else JSON Lines or an array) or a Hub id, `owner/name[:config[:split]]`.
        task: The environment they are for, as errors name it.

    Raises:
        ConfigError: When there is no data, it cannot be read, or it holds no example.
    """
    if not data:
        raise ConfigError(f"environment {task!r} brings no examples: give --data, a path or a Hub id")
    path = Path(data).expanduser()
    on_hub = not path.exists() and path.suffix not in _SUFFIXES and _HUB_ID.fullmatch(data)
    rows = _from_hub(data) if on_hub else _from_file(path)
    if not rows:
        raise ConfigError(f"{data}: there is no example in it")
    return rows


def _from_file(path: Path) -> list[Row]:
    if not read_text(path).lstrip().startswith("["):
        return [Row(f"{path}, line {number}", row) for number, row in read_lines(path)]
    try:
        array = read_data(read_text(path))
    except json.JSONDecodeError as error:
        raise ConfigError(f"{path}, line {error.lineno}: not valid JSON ({error.msg})") from error
    except UnfitJSON as error:
        raise ConfigError(f"{path}: {error}") from error
    return [_row(f"{path}, item {number}", item) for number, item in enumerate(array, start=1)]


def _from_hub(data: str) -> list[Row]:
    try:
        from datasets import get_dataset_split_names, load_dataset
    except ImportError as error:
        raise ConfigError(f"{data!r} is no file; to load it from the Hub: {install('tasks')}") from error
    name, config, split = (*data.split(":"), None, None)[:3]
    try:
        split = split or next(iter(sorted(get_dataset_split_names(name, config), key=_preference)))
        rows = load_dataset(name, config, split=split)
    except Exception as error:  # the library raises whatever its many parts raise
        reason = " ".join(str(error).split())[:200]
        raise ConfigError(f"{data!r} is no file, and cannot be loaded from the Hub: {reason}") from error
    return [_row(f"{data} ({split}), row {number}", row) for number, row in enumerate(rows, start=1)]


def _preference(split: str) -> int:
    return _SPLITS.index(split) if split in _SPLITS else len(_SPLITS)


def _row(where: str, item: Any) -> Row:
    if not isinstance(item, dict):
        raise ConfigError(f"{where}: expected a JSON object, found {type(item).__name__}")
    return Row(where, item)
