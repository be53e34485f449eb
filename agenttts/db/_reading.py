"""Reading a whole study."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from sqlalchemy import Engine, Row, Select, select

from agenttts.db import _schema as t
from agenttts.db._engine import read
from agenttts.db._rows import TRIAL, EvaluationReader, counterfactual_of, proposal_of, refusal_of, step_of, trial_of
from agenttts.db._study import Study
from agenttts.space.allocation import Allocation
from agenttts.study.evaluation import Evaluation
from agenttts.study.trial import GUIDELINE_NODE, AgentStep, Archive, Guideline, Proposal, Refusal, Trial

T = TypeVar("T")
_AT_ONCE = 500
"""Rows that are fetched together."""


@contextmanager
def _uncollected() -> Iterator[None]:
    """No garbage collection: all that is made inside is kept, and to walk it again and again would take longer."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        # Else the application's own are frozen, and are to stay so; Python 3.12 begins with some.
        if not gc.get_freeze_count():
            gc.freeze()
            gc.unfreeze()  # all are now of the oldest generation, without a walk through the younger ones
        if was_on:
            gc.enable()


class StudyReader:
    """Reads one study.

    Args:
        engine: Where it is.
        study: Which.
    """

    def __init__(self, engine: Engine, study: Study) -> None:
        self._engine, self._study = engine, study

    @_uncollected()
    def archive(self) -> Archive:
        """See `Store.archive`."""
        trials, spec = self._trials(), self._study.spec
        kept = tuple([trial for trial in trials if spec.has(trial.allocation)])
        return Archive(
            trials=kept,
            set_aside=len(trials) - len(kept),
            refusals=tuple(self._refusals()),
            guidelines=tuple(self._guidelines()),
            examples=spec.examples,
            counterfactuals=tuple(each for each in self._counterfactuals() if spec.has(each.allocation)),
            experience=spec.experience,
        )

    def proposals(self) -> list[tuple[Proposal, int]]:
        """See `Store.proposals`."""
        spec = self._study.spec
        found = [(proposal_of(row, spec.sizes), row.round) for row in self._rows(t.proposals)]
        return [each for each in found if spec.has(each[0].allocation)]

    def validation(self, allocation: Allocation) -> Evaluation | None:
        """The recorded check of an allocation, whole or not."""
        rows = [row for row in self._rows(t.validations) if row.allocation == allocation.key]
        return EvaluationReader()(rows[-1].evaluation) if rows else None

    def steps(self) -> list[AgentStep]:
        """See `Store.steps`."""
        return [step_of(row) for row in self._rows(t.steps)]

    def _trials(self) -> list[Trial]:
        reader, stages = EvaluationReader(), self._study.spec.sizes
        # By number, as an index of the database has them: to sort them, it would copy every evaluation.
        wanted = select(*TRIAL).where(t.trials.c.study_id == self._study.id).order_by(t.trials.c.number)
        return self._made(wanted, lambda row: trial_of(row, stages, reader))

    def _counterfactuals(self) -> list[Trial]:
        reader = EvaluationReader()
        found = self._each(t.counterfactuals, lambda row: counterfactual_of(row, self._study.spec.sizes, reader))
        return sorted(found, key=lambda trial: trial.allocation.key)

    def _guidelines(self) -> list[Guideline]:
        """Those of `steps`, without the prompts that led to them: these are long, and many."""
        wanted = select(t.steps.c.round, t.steps.c.text, t.steps.c.evidence).order_by(t.steps.c.id)
        wanted = wanted.where(t.steps.c.study_id == self._study.id, t.steps.c.node == GUIDELINE_NODE)
        rows = read(self._engine, lambda connection: connection.execute(wanted).all())
        return [Guideline(round=number, text=text, evidence=evidence) for number, text, evidence in rows]

    def _refusals(self) -> list[Refusal]:
        return [refusal_of(row) for row in self._rows(t.refusals)]

    def _rows(self, table: Any) -> list[Row[Any]]:
        return self._each(table, lambda row: row)

    def _each(self, table: Any, made: Callable[[Row[Any]], T]) -> list[T]:
        return self._made(select(table).where(table.c.study_id == self._study.id).order_by(table.c.id), made)

    def _made(self, wanted: Select[Any], made: Callable[[Row[Any]], T]) -> list[T]:
        """What is made of each row, one after another: a large study's rows take much more memory."""
        some = wanted.execution_options(yield_per=_AT_ONCE)
        return read(self._engine, lambda connection: [made(row) for row in connection.execute(some)])
