"""SRDD's software descriptions as published: CSV with the columns Name, Description, Category; the same as JSON (Lines)
or from the Hub; and the authors' tasks.json, {"names": [...], "tasks": [...]}.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from pathlib import Path

from agenttts._util.strict_json import UnfitJSON, read_data
from agenttts.environments.examples import read_text
from agenttts.environments.tasks.rows import FULL_TEXT, TEXT_LIST, Row, read_rows
from agenttts.errors import ConfigError
from agenttts.pipeline import Example

TASK = "chatdev"


def read_examples(data: str | None) -> list[Example]:
    """The descriptions, each an example without any gold.

    Raises:
        ConfigError: When there are none, or one is malformed: the message names file, place and field.
    """
    path = Path(data or "").expanduser()
    if path.suffix == ".csv":
        rows: Sequence[Row] = _from_csv(path)
    elif path.suffix == ".json" and read_text(path).lstrip().startswith("{"):
        rows = _from_lists(path)
    else:
        rows = read_rows(data, task=TASK)
    return [_example(row, number) for number, row in enumerate(rows, start=1)]


def _example(row: Row, number: int) -> Example:
    return {
        "id": str(row.fields.get("id", f"srdd-{number - 1:04}")),
        "name": row.get("Name", FULL_TEXT),
        "description": row.get("Description", FULL_TEXT),
    }


def _from_csv(path: Path) -> list[Row]:
    reader = csv.DictReader(io.StringIO(read_text(path).removeprefix("\ufeff"), newline=""), strict=True)
    try:
        rows = [Row(f"{path}, line {reader.line_num}", row) for row in reader]
    except csv.Error as error:
        raise ConfigError(f"{path}, line {reader.line_num + 1}: not valid CSV ({error})") from error
    if not rows:
        raise ConfigError(f"{path}: there is no example in it")
    return rows


def _from_lists(path: Path) -> Sequence[Row]:
    try:
        content = read_data(read_text(path))
    except json.JSONDecodeError:  # JSON Lines under the name of JSON
        return read_rows(str(path), task=TASK)
    except UnfitJSON as error:
        raise ConfigError(f"{path}: {error}") from error
    whole = Row(str(path), content)
    if "names" not in content and "tasks" not in content:
        return [whole]
    names, tasks = (whole.get(field, TEXT_LIST) for field in ("names", "tasks"))
    if len(names) != len(tasks):
        raise whole.error("tasks", f"has {len(tasks)} descriptions for {len(names)} names")
    return [
        Row(f"{path}, item {number}", {"Name": name, "Description": task})
        for number, (name, task) in enumerate(zip(names, tasks, strict=True), start=1)
    ]
