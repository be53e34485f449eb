"""Which samples each example of a trial drew, what was made of them, and what its stages handed on.

A row names keys of the sample pool; prompts and samples are there once, however many trials draw them.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import TypeAdapter
from sqlalchemy import ColumnElement, Connection, Engine, Row, delete, func, insert, select

from agenttts._util.text import bounded, storable
from agenttts.db import _schema as t
from agenttts.db._engine import read
from agenttts.llm.samples import Sample, StoredPrompt
from agenttts.study.evaluation import Evaluation
from agenttts.study.transcript import StageTranscript

_STAGES = TypeAdapter(tuple[StageTranscript, ...])
_AT_ONCE = 500
"""Keys or rows that one statement names or gives."""
_MOST_FIELD = 16 * 1024
"""Characters of one field of an example that are kept."""


@dataclass(frozen=True, kw_only=True)
class StoredTranscript:
    """One example under a trial's allocation, as it was asked and scored."""

    id: int
    """Its number in the store."""
    trial: int
    """Number of the trial."""
    held_out: bool
    """Whether it is of the check on held-out examples, with fresh samples."""
    example: str
    """Id of the example."""
    score: float
    """Of the metric, on this example."""
    error: str | None
    """Why it failed; None where it did not."""
    unusable: int
    """Samples that no parser could use."""
    cut: int
    """Samples that were cut at `max_tokens`."""
    stages: tuple[StageTranscript, ...]
    """In the order of the pipeline."""


@dataclass(frozen=True)
class PoolText:
    """What was asked under a key of the pool, and the first samples."""

    prompt: StoredPrompt
    """What was asked."""
    samples: list[Sample]
    """What was answered, in the order in which it was drawn."""


def keep_transcripts(
    connection: Connection,
    study_id: int,
    trial: int,
    evaluation: Evaluation,
    *,
    known: Evaluation | None = None,
    held_out: bool = False,
) -> None:
    """Record the transcripts of an evaluation within a transaction, but for examples that have a result already."""
    seen = {each.example for each in known.results} if known else set()
    results = [
        each for each in evaluation.results if each.example in evaluation.transcripts and each.example not in seen
    ]
    if not results:
        return
    if held_out:  # a check is recorded in place of an older one
        older = (t.transcripts.c.study_id == study_id, t.transcripts.c.trial == trial, t.transcripts.c.held_out)
        names = [each.example for each in results]
        connection.execute(delete(t.transcripts).where(*older, t.transcripts.c.example.in_(names)))
    rows = [
        {
            "study_id": study_id,
            "trial": trial,
            "held_out": held_out,
            "example": each.example,
            "score": each.score,
            "failed": each.error is not None,
            "unusable": evaluation.transcripts[each.example].unusable,
            "cut": evaluation.transcripts[each.example].cut,
            "error": each.error,
            "stages": _STAGES.dump_python(evaluation.transcripts[each.example].stages, mode="json"),
        }
        for each in results
    ]
    connection.execute(insert(t.transcripts), rows)
    _keep_examples(connection, study_id, {each.example: evaluation.transcripts[each.example].given for each in results})


def _keep_examples(connection: Connection, study_id: int, given: Mapping[str, Mapping[str, Any]]) -> None:
    mine = select(t.examples.c.example).where(t.examples.c.study_id == study_id)
    known = set(connection.execute(mine).scalars())
    fresh = {name: fields for name, fields in given.items() if storable(name) not in known}
    rows = [
        {"study_id": study_id, "example": name, "fields": {str(key): _plain(value) for key, value in fields.items()}}
        for name, fields in fresh.items()
    ]
    if rows:
        connection.execute(insert(t.examples), rows)


def _plain(value: Any) -> Any:
    """A field of an example, as plain data of a bounded size."""
    try:
        written = json.dumps(value, default=repr)
    except (TypeError, ValueError, RecursionError):
        written = json.dumps(repr(value))
    if len(written) <= _MOST_FIELD:
        return json.loads(written)
    return bounded(value if isinstance(value, str) else written, _MOST_FIELD)


class TranscriptTable:
    """Reads what was asked and said."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def of(
        self,
        study_id: int,
        *,
        trial: int | None = None,
        example: str | None = None,
        failed: bool = False,
    ) -> Iterator[StoredTranscript]:
        """Transcripts in the order in which they were recorded, trial by trial.

        Args:
            study_id: Whose.
            trial: Of this trial alone.
            example: Of this example alone.
            failed: Only of examples that failed, or with samples that could not be used or were cut.
        """
        table, wanted = t.transcripts.c, list[ColumnElement[bool]]()
        if trial is not None:
            wanted.append(table.trial == trial)
        if example is not None:
            wanted.append(table.example == storable(example))
        if failed:
            wanted.append(table.failed | (table.unusable > 0) | (table.cut > 0))
        page = self.after(study_id, (0, 0), _AT_ONCE, *wanted)
        while page:
            yield from page
            last = page[-1].trial, page[-1].id
            page = self.after(study_id, last, _AT_ONCE, *wanted) if len(page) == _AT_ONCE else []

    def worst(self, study_id: int, *, limit: int, offset: int = 0) -> list[StoredTranscript]:
        """Those of examples that failed, then those with most samples that could not be used, or were cut."""
        table = t.transcripts.c
        wanted = select(t.transcripts).where(table.study_id == study_id)
        wanted = wanted.order_by(table.failed.desc(), table.unusable.desc(), table.cut.desc(), table.id.desc())
        return [_transcript(row) for row in self._rows(wanted.limit(limit).offset(offset))]

    def count(self, study_id: int) -> int:
        """How many transcripts a study has."""
        counted = select(func.count()).select_from(t.transcripts).where(t.transcripts.c.study_id == study_id)
        return int(self._rows(counted)[0][0])

    def one(self, study_id: int, trial: int, example: str, *, held_out: bool) -> StoredTranscript | None:
        """That of an example of a trial; None where there is none."""
        table = t.transcripts.c
        mine = (table.study_id == study_id, table.trial == trial, table.held_out == held_out)
        rows = self._rows(select(t.transcripts).where(*mine, table.example == storable(example)).limit(1))
        return _transcript(rows[0]) if rows else None

    def after(
        self, study_id: int, place: tuple[int, int], limit: int, *also: ColumnElement[bool]
    ) -> list[StoredTranscript]:
        """The next ones after a (trial, id), in that order: for looking through all of them piece by piece."""
        table, (trial, id_) = t.transcripts.c, place
        further = (table.trial > trial) | ((table.trial == trial) & (table.id > id_))
        wanted = select(t.transcripts).where(table.study_id == study_id, table.trial >= trial, further, *also)
        return [_transcript(row) for row in self._rows(wanted.order_by(table.trial, table.id).limit(limit))]

    def given(self, study_id: int, examples: Sequence[str]) -> dict[str, dict[str, Any]]:
        """Example -> its fields, of those that are known."""
        mine = (t.examples.c.study_id == study_id, t.examples.c.example.in_(list(map(storable, examples))))
        rows = self._rows(select(t.examples.c.example, t.examples.c.fields).where(*mine))
        return {row.example: dict(row.fields) for row in rows}

    def allocations(self, study_id: int, trials: Iterable[int]) -> dict[int, str]:
        """Number of a trial -> the key of its allocation."""
        mine = (t.trials.c.study_id == study_id, t.trials.c.number.in_(sorted(trials)))
        rows = self._rows(select(t.trials.c.number, t.trials.c.allocation).where(*mine))
        return {row.number: row.allocation for row in rows}

    def texts(self, stages: Sequence[StageTranscript]) -> dict[str, PoolText]:
        """Key -> its prompt, and as many samples as the stages looked at."""
        wanted = {drawn.key: 0 for stage in stages for drawn in stage.drawn}
        for stage in stages:
            for drawn in stage.drawn:
                wanted[drawn.key] = max(wanted[drawn.key], drawn.samples)
        keys, found, kept = sorted(wanted), dict[str, PoolText](), t.samples.c
        for start in range(0, len(keys), _AT_ONCE):
            some = keys[start : start + _AT_ONCE]
            for row in self._rows(select(t.prompts).where(t.prompts.c.key.in_(some))):
                found[row.key] = PoolText(StoredPrompt(**row._asdict()), [])
            for row in self._rows(select(t.samples).where(kept.key.in_(some)).order_by(kept.key, kept.position)):
                if row.key in found and row.position < wanted[row.key]:
                    sample = Sample(row.text, row.completion_tokens, row.ended or "", row.logprobs)
                    found[row.key].samples.append(sample)
        return found

    def _rows(self, statement: Any) -> list[Row[Any]]:
        return list(read(self._engine, lambda connection: connection.execute(statement).all()))


def _transcript(row: Row[Any]) -> StoredTranscript:
    return StoredTranscript(
        id=row.id,
        trial=row.trial,
        held_out=bool(row.held_out),
        example=row.example,
        score=row.score,
        error=row.error,
        unusable=row.unusable,
        cut=row.cut,
        stages=_STAGES.validate_python(row.stages),
    )
