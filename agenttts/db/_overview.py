"""Parts of a study, each read in a few milliseconds however long the study is: for whoever watches it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Literal, NamedTuple

from sqlalchemy import ColumnElement, Engine, Float, Row, Select, func, literal_column, select

from agenttts.db import _schema as t
from agenttts.db._engine import read
from agenttts.db._rows import TRIAL, refusal_of, step_of, trial_of
from agenttts.db._samples import NOW
from agenttts.db._study import Study
from agenttts.study.trial import AgentStep, Refusal, Trial

TrialOrder = Literal["newest", "oldest", "score", "worst", "cost", "dearest"]
_ORDERS: dict[str, list[ColumnElement[Any]]] = {
    "newest": [t.trials.c.number.desc()],
    "oldest": [t.trials.c.number.asc()],
    "score": [t.trials.c.score.desc(), t.trials.c.id.desc()],
    "worst": [t.trials.c.score.asc(), t.trials.c.id.asc()],
    "cost": [t.trials.c.cost.asc(), t.trials.c.id.asc()],
    "dearest": [t.trials.c.cost.desc(), t.trials.c.id.desc()],
}


class Activity(NamedTuple):
    """When something was last recorded in a study, and whether somebody seems to be at work on it."""

    newest: datetime | None
    """When something last was; None where nothing has been."""
    proposals: int
    """Allocations that are being evaluated, or were when the search was stopped."""
    checked: bool
    """Whether that was the check on held-out examples, with which a search ends."""
    paying: bool
    """Whether some process that shares the store is waiting for samples right now."""


class Overview:
    """Reads parts of studies."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def stamp(self, study: Study) -> str:
        """A text that changes whenever something is recorded in the study."""
        tables = (t.trials, t.steps, t.refusals, t.purchases, t.proposals)
        parts = [select(func.max(each.c.id)).where(each.c.study_id == study.id).scalar_subquery() for each in tables]
        # Ids grow over all studies: what is recorded in another one only makes a reader look once more.
        parts.append(select(func.max(t.transcripts.c.id)).scalar_subquery())
        return "-".join(str(part or 0) for part in self._rows(select(*parts))[0])

    def activity(self, study: Study) -> Activity:
        """What tells whether a search is at work."""
        check = self._newest(t.validations, study)
        others = (self._newest(table, study) for table in (t.trials, t.steps, t.purchases))
        newest = max((created for created in others if created is not None), default=None)
        counted = select(func.count()).select_from(t.proposals).where(t.proposals.c.study_id == study.id)
        now = literal_column(NOW[self._engine.dialect.name], Float)
        claimed = select(t.claims.c.key).where(t.claims.c.expires > now).limit(1)
        return Activity(
            newest=newest,
            proposals=self._rows(counted)[0][0],
            checked=check is not None and newest is not None and check >= newest,
            paying=bool(self._rows(claimed)),
        )

    def _newest(self, table: Any, study: Study) -> datetime | None:
        last = select(func.max(table.c.id)).where(table.c.study_id == study.id).scalar_subquery()
        rows = self._rows(select(table.c.created).where(table.c.id == last))
        return rows[0].created if rows else None

    def trials(self, study: Study, *, order: TrialOrder = "newest", limit: int, offset: int = 0) -> list[Trial]:
        """A page of the trials."""
        # Ordered by numbers alone: to sort whole rows, the database would copy every evaluation.
        numbers = select(t.trials.c.id).where(t.trials.c.study_id == study.id)
        numbers = numbers.order_by(*_ORDERS[order]).limit(limit).offset(offset)
        wanted = [row.id for row in self._rows(numbers)]
        rows = self._rows(select(*TRIAL).where(t.trials.c.id.in_(wanted)))
        found = {row.id: trial_of(row, study.spec.sizes) for row in rows}
        return [found[id_] for id_ in wanted]

    def trial(self, study: Study, number: int) -> Trial | None:
        """The trial of this number; None where there is none."""
        rows = self._rows(_trials_of(study).where(t.trials.c.number == number))
        return trial_of(rows[0], study.spec.sizes) if rows else None

    def rounds(self, study: Study, *, limit: int, offset: int = 0) -> list[int]:
        """A page of the numbers of the rounds, the newest first."""
        both = _rounds(study)
        page = select(both.c.round).order_by(both.c.round.desc()).limit(limit).offset(offset)
        return [row.round for row in self._rows(page)]

    def count_rounds(self, study: Study) -> int:
        """How many rounds there are."""
        return int(self._rows(select(func.count()).select_from(_rounds(study)))[0][0])

    def trials_of(self, study: Study, rounds: Sequence[int]) -> list[Trial]:
        """The trials of these rounds."""
        # Ordered here: a database that orders them looks through all rows of the study in that order.
        rows = sorted(self._rows(_trials_of(study).where(t.trials.c.round.in_(rounds))), key=_id)
        return [trial_of(row, study.spec.sizes) for row in rows]

    def steps_of(self, study: Study, rounds: Sequence[int]) -> list[AgentStep]:
        """The agent's steps in these rounds."""
        rows = sorted(self._rows(self._of(t.steps, study).where(t.steps.c.round.in_(rounds))), key=_id)
        return [step_of(row) for row in rows]

    def refusals(self, study: Study, *, rounds: Sequence[int] | None = None, limit: int) -> list[Refusal]:
        """The newest rejected proposals, of these rounds where some are given."""
        wanted = self._of(t.refusals, study).order_by(t.refusals.c.id.desc()).limit(limit)
        if rounds is not None:
            wanted = wanted.where(t.refusals.c.round.in_(rounds))
        return [refusal_of(row) for row in self._rows(wanted)]

    def _of(self, table: Any, study: Study) -> Select[Any]:
        return select(table).where(table.c.study_id == study.id)

    def _rows(self, statement: Any) -> list[Row[Any]]:
        return list(read(self._engine, lambda connection: connection.execute(statement).all()))


def _trials_of(study: Study) -> Select[Any]:
    return select(*TRIAL).where(t.trials.c.study_id == study.id)


def _rounds(study: Study) -> Any:
    """The numbers of a study's rounds, those with trials and those with steps of the agent."""
    one, other = (select(table.c.round).where(table.c.study_id == study.id) for table in (t.trials, t.steps))
    return one.union(other).subquery()


def _id(row: Row[Any]) -> int:
    return int(row.id)
