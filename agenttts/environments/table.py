"""Tables of recorded scores: CSV (plain or .gz) and Parquet files, and rows in memory.

A row holds the columns `<subtask>.model` and `<subtask>.samples` of an allocation and its `score` in [0, 1]; with
`example` it is the score of one example, without it the score of the allocation itself. Optional are
`<subtask>.operator` (its first one where it is empty), `<subtask>.options` ("passages=20"; what is not named has its
first value), `held_out` (true or false: an example that no search sees),
`<subtask>.score`, and `simulated` (true where no real model gave the outcome). Other columns are ignored. Every fault
is one sentence that names the file, the line (in Parquet and in memory the row, from 1) and the column.

Tables are written whole or not at all. In CSV a text that a spreadsheet would run as a formula has a quote before it.
"""

from __future__ import annotations

import csv
import gzip
import re
import zlib
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import IO, Any

from agenttts._util.files import replacing
from agenttts._util.hints import install
from agenttts._util.text import storable
from agenttts.errors import ConfigError
from agenttts.pipeline import Pipeline, Subtask
from agenttts.pipeline.pairing import paired
from agenttts.space.allocation import Allocation, Choice

SUFFIXES = (".csv", ".csv.gz", ".parquet")
WHOLE = "all"
"""The one example of a table without the column `example`."""
_FORMULA = re.compile(r"'*[=+\-@\t\r\n＝＋－＠]")  # the wide forms are formulas in some languages
"""A cell that spreadsheets run; one quote before it makes it text, in a table that we write and to them."""
_TRUTHS = {"true": True, "1": True, "false": False, "0": False, "": False}


@dataclass(frozen=True, kw_only=True, slots=True)
class RecordedOutcome:
    """One row of a table."""

    allocation: Allocation
    example: str
    score: float
    held_out: bool = False
    place: str = ""
    """Where it stands, as faults name it."""
    subtask_scores: Mapping[str, float] = field(default_factory=dict)
    simulated: bool = False


Rows = Iterable[Mapping[str, Any]]


def read_table(table: str | Path | Rows, pipeline: Pipeline) -> Iterator[RecordedOutcome]:
    """The rows of a table of this pipeline, in order.

    Raises:
        ConfigError: On a file that cannot be read, a missing column, or a value that is not what its column holds.
    """
    columns: _Columns | None = None
    for place, row in _rows(table):
        columns = columns or _Columns(pipeline, list(row), source_of(table))
        yield columns.outcome(place, row)


def source_of(table: str | Path | Rows) -> str:
    """How faults name a table."""
    return str(table) if isinstance(table, str | Path) else "the table"


def write_table(path: Path, pipeline: Pipeline, outcomes: Iterable[RecordedOutcome]) -> None:
    """Write a table that `read_table` reads.

    Raises:
        ConfigError: When the file cannot be written, its name has another suffix, or Parquet's package is missing.
    """
    require_writable(path)
    stages = [subtask.name for subtask in pipeline.subtasks if subtask.metric is not None]
    rows = [_row(outcome, pipeline, stages) for outcome in outcomes]
    if path.suffix == ".parquet":
        pyarrow = _parquet()
        with replacing(path) as draft:
            pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), draft)
        return
    with replacing(path) as draft, _open_text(draft, "wt") as file:
        writer = csv.writer(file)
        writer.writerow(map(_inert, rows[0]))
        writer.writerows(map(_inert, row.values()) for row in rows)


def _inert(cell: Any) -> Any:
    """A cell that no spreadsheet takes for a formula; `_active` gives the cell back."""
    return f"'{cell}" if isinstance(cell, str) and _FORMULA.match(cell) else cell


def _active(cell: str) -> str:
    return cell[1:] if cell.startswith("'") and _FORMULA.match(cell) else cell


def require_writable(path: Path) -> None:
    """Reject a file that `write_table` could not write, before anything is paid for it.

    Raises:
        ConfigError: When its name has another suffix, its folder is missing, or Parquet's package is.
    """
    if not path.name.endswith(SUFFIXES):
        raise ConfigError(f"cannot write {str(path)!r}: its name must end in {', '.join(SUFFIXES)}")
    if not path.parent.is_dir():
        raise ConfigError(f"cannot write {str(path)!r}: there is no folder {str(path.parent)!r}")
    if path.suffix == ".parquet":
        _parquet()


def _row(outcome: RecordedOutcome, pipeline: Pipeline, stages: Sequence[str]) -> dict[str, Any]:
    choices: dict[str, Any] = {}
    for subtask in pipeline.subtasks:
        choice = outcome.allocation[subtask.name]
        choices |= {f"{subtask.name}.model": choice.model, f"{subtask.name}.samples": choice.samples}
        if len(subtask.operators) > 1:
            choices[f"{subtask.name}.operator"] = subtask.pairing(choice.pairing).operator.name
        if subtask.options:
            choices[f"{subtask.name}.options"] = choice.options
    return {
        **choices,
        "example": outcome.example,
        "held_out": outcome.held_out,
        "score": outcome.score,
        **{f"{name}.score": outcome.subtask_scores.get(name, 0.0) for name in stages},
        **({"simulated": True} if outcome.simulated else {}),
    }


@dataclass(frozen=True)
class _Columns:
    """The columns of a table, checked once, and how its values are read."""

    pipeline: Pipeline
    names: Sequence[str]
    source: str
    allocations: dict[tuple[Any, ...], Allocation] = field(default_factory=dict)
    """Allocations of the values they were read from: a table repeats each for every example."""

    def __post_init__(self) -> None:
        for name in [*self._choices, "score"]:
            if name not in self.names:
                held = ", ".join(map(str, self.names))
                raise ConfigError(f"{self.source}: there is no column {name!r}; the columns are {held}")

    @property
    def _choices(self) -> list[str]:
        return [f"{subtask.name}.{key}" for subtask in self.pipeline.subtasks for key in ("model", "samples")]

    def outcome(self, place: str, row: Mapping[str, Any]) -> RecordedOutcome:
        stages = [s.name for s in self.pipeline.subtasks if f"{s.name}.score" in self.names]
        return RecordedOutcome(
            place=place,
            allocation=self._allocation(place, row),
            example=storable(str(_value(place, row, "example"))) if "example" in self.names else WHOLE,
            score=_score(place, row, "score"),
            held_out=_truth(place, row, "held_out") if "held_out" in self.names else False,
            subtask_scores={name: _score(place, row, f"{name}.score") for name in stages},
            simulated=_truth(place, row, "simulated") if "simulated" in self.names else False,
        )

    def _allocation(self, place: str, row: Mapping[str, Any]) -> Allocation:
        ways = (row.get(f"{s.name}.{kind}") for s in self.pipeline.subtasks for kind in ("operator", "options"))
        values = (*(_value(place, row, name) for name in self._choices), *map(str, ways))
        if values not in self.allocations:
            choices = {
                s.name: Choice.of(_pairing(place, row, s), _samples(place, row, s)) for s in self.pipeline.subtasks
            }
            self.allocations[values] = Allocation(choices)
        return self.allocations[values]


def _value(place: str, row: Mapping[str, Any], column: str) -> Any:
    value = row.get(column)
    if value is None or value == "":
        raise ConfigError(f"{place}, column {column!r}: it is empty")
    if not isinstance(value, Hashable):
        raise ConfigError(f"{place}, column {column!r}: {value!r} is not a single value")
    return value


def _pairing(place: str, row: Mapping[str, Any], subtask: Subtask) -> str:
    column = f"{subtask.name}.model"
    try:
        model = subtask.model(str(row[column])).name
        column = f"{subtask.name}.operator"
        subtask.pairing(paired(model, operator := str(row.get(column) or "")))
        column = f"{subtask.name}.options"
        return subtask.pairing(paired(model, operator, str(row.get(column) or ""))).name
    except ConfigError as error:
        raise ConfigError(f"{place}, column {column!r}: {error}") from error


def _samples(place: str, row: Mapping[str, Any], subtask: Subtask) -> int:
    column = f"{subtask.name}.samples"
    number = _number(place, row, column)
    if not (number >= 1 and number.is_integer()):
        raise ConfigError(f"{place}, column {column!r}: {row[column]!r} is not a whole number >= 1")
    return int(number)


def _score(place: str, row: Mapping[str, Any], column: str) -> float:
    number = _number(place, row, column)
    if not 0 <= number <= 1:
        raise ConfigError(f"{place}, column {column!r}: {row[column]!r} is not in [0, 1]")
    return number


def _number(place: str, row: Mapping[str, Any], column: str) -> float:
    value = _value(place, row, column)
    try:
        return float(value)
    except (TypeError, ValueError):
        raise ConfigError(f"{place}, column {column!r}: {value!r} is not a number") from None


def _truth(place: str, row: Mapping[str, Any], column: str) -> bool:
    value = row.get(column)
    text = "" if value is None else str(value).strip().lower()
    if text not in _TRUTHS:
        raise ConfigError(f"{place}, column {column!r}: {value!r} is neither true nor false")
    return _TRUTHS[text]


def _rows(table: str | Path | Rows) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Each row with its place."""
    if not isinstance(table, str | Path):
        yield from ((f"row {number} of the table", row) for number, row in enumerate(table, start=1))
        return
    path = Path(table)
    try:
        yield from _parquet_rows(path) if path.suffix == ".parquet" else _csv_rows(path)
    except (OSError, EOFError, zlib.error) as error:
        reason = getattr(error, "strerror", None) or error
        raise ConfigError(f"cannot read the table {str(path)!r}: {reason}") from error


def _csv_rows(path: Path) -> Iterator[tuple[str, Mapping[str, Any]]]:
    with _open_text(path, "rt") as file:
        reader = csv.reader(file, strict=True)
        try:
            header = list(map(_active, next(reader, [])))
            for name in header:
                if header.count(name) > 1:
                    raise ConfigError(f"{path}, line 1: there are two columns {name!r}")
            for written in reader:
                fields = list(map(_active, written))
                place = f"{path}, line {reader.line_num}"
                if fields and len(fields) != len(header):
                    raise ConfigError(f"{place}: it has {len(fields)} fields, the header has {len(header)}")
                if fields:
                    yield place, dict(zip(header, fields, strict=True))
        except csv.Error as error:
            raise ConfigError(f"{path}, line {reader.line_num}: it is not CSV ({error})") from error
        except UnicodeDecodeError as error:
            raise ConfigError(f"{path}, after line {reader.line_num}: it is not UTF-8 text ({error.reason})") from error


def _open_text(path: Path, mode: str) -> IO[str]:
    # utf-8-sig: spreadsheets put a byte order mark before the header.
    encoding = "utf-8-sig" if mode == "rt" else "utf-8"
    if path.suffix == ".gz":
        return gzip.open(path, mode, encoding=encoding, newline="")  # type: ignore[return-value]  # text, by its mode
    return open(path, mode, encoding=encoding, newline="")


def _parquet_rows(path: Path) -> Iterator[tuple[str, Mapping[str, Any]]]:
    pyarrow = _parquet()
    try:
        rows = pyarrow.parquet.read_table(path).to_pylist()
    except pyarrow.ArrowInvalid as error:
        raise ConfigError(f"the table {str(path)!r} is not a Parquet file: {error}") from error
    yield from ((f"{path}, row {number}", row) for number, row in enumerate(rows, start=1))


def _parquet() -> ModuleType:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise ConfigError(f"Parquet files need pyarrow: {install('report')}, or use .csv") from error
    module: ModuleType = pyarrow
    return module
