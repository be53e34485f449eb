"""Studies and what belongs to them, in a SQL database. No secret is ever stored."""

from __future__ import annotations

import gc
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from datetime import UTC, datetime
from functools import cached_property
from typing import Any, TypeVar

from pydantic import TypeAdapter
from sqlalchemy import ColumnElement, Connection, Delete, Engine, Row, Table, case, delete, func, insert, select, update
from sqlalchemy.dialects import postgresql, sqlite

from agenttts._util.text import storable, storable_data
from agenttts.db import _schema as t
from agenttts.db._engine import open_engine, read, shown, write
from agenttts.db._overview import Overview
from agenttts.db._rows import (
    SPEND,
    EvaluationReader,
    counterfactual_of,
    counterfactual_row,
    evaluation_json,
    looks_json,
    proposal_of,
    proposal_row,
    refusal_of,
    step_of,
    trial_of,
    trial_row,
)
from agenttts.db._samples import SampleTable
from agenttts.db._study import PREFIX_CACHES, Study, cache_uses
from agenttts.db._transcripts import TranscriptTable, keep_transcripts
from agenttts.db._upkeep import Upkeep
from agenttts.errors import ConfigError, LimitReached
from agenttts.llm.samples import Spend
from agenttts.space.allocation import Allocation
from agenttts.study.evaluation import Evaluation
from agenttts.study.spec import StudySpec
from agenttts.study.trial import GUIDELINE_NODE, AgentStep, Archive, Guideline, Look, Proposal, Refusal, Trial

T = TypeVar("T")
_log = logging.getLogger(__name__)
_AT_ONCE = 500
"""Rows that are fetched together."""
_SPEC = TypeAdapter(StudySpec)
_TOKEN_KINDS = ("cached_prompt_tokens", "reasoning_tokens", "estimated_tokens")
_BOUGHT = ("requests", "prompt_tokens", "completion_tokens", *_TOKEN_KINDS, "usd")
_UNBOUGHT = ("reused_prompt_tokens", "reused_completion_tokens", "seconds")
"""What the ledger of purchases does not hold of a trial's spend."""


@contextmanager
def _uncollected() -> Iterator[None]:
    """No garbage collection: all that is made inside is kept, and to walk it again and again would take longer."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


class Store:
    """One database of studies and pooled samples.

    Examples:
        >>> store = at.Store("runs.db")
        >>> store.studies(), store.location
        ([], 'runs.db')
        >>> store.close()

    Args:
        url: The path of a SQLite file, or `postgresql://USER:PASSWORD@HOST:PORT/DATABASE`; in memory by default.

    Raises:
        StoreError: When the database cannot be opened, is not ours, or is newer than this version.
    """

    def __init__(self, url: str = "sqlite://") -> None:
        self._url = url
        self._engine: Engine = open_engine(url)

    def __reduce__(self) -> tuple[type[Store], tuple[str]]:
        """In another process it is opened anew."""
        return Store, (self._url,)

    @property
    def location(self) -> str:
        """Where the store is, without a password: a path for SQLite, a URL otherwise."""
        return shown(self._engine.url)

    @cached_property
    def samples(self) -> SampleTable:
        """The stored half of the sample pool."""
        return SampleTable(self._engine)

    @cached_property
    def transcripts(self) -> TranscriptTable:
        """What was asked and said for each example of a trial."""
        return TranscriptTable(self._engine)

    @cached_property
    def overview(self) -> Overview:
        """Parts of studies, for whoever watches them."""
        return Overview(self._engine)

    @cached_property
    def upkeep(self) -> Upkeep:
        """How large the store is, and making it smaller."""
        return Upkeep(self._engine)

    def close(self) -> None:
        """Close every connection, once all that was paid for is kept."""
        self.samples.close()
        self._engine.dispose()

    # Studies

    def start(self, name: str, spec: StudySpec, details: Mapping[str, Any] | None = None) -> Study:
        """Create the study of this name, or resume it, also with models that were added or taken out.

        Raises:
            ConfigError: When the name is too long, or the study exists with another spec (the message says what
                differs).
        """
        name, spec = storable(name), _SPEC.validate_python(storable_data(asdict(spec)))
        if len(name) > t.NAME_LENGTH:
            raise ConfigError(f"a study's name has at most {t.NAME_LENGTH} characters, not the {len(name)} of {name!r}")
        study = self._find(name)
        if study is None:
            row = {"name": name, "created": _now(), "spec": asdict(spec), "details": dict(details or {})}
            dialect = postgresql if self._engine.dialect.name == "postgresql" else sqlite
            # Another process may start it at this very moment.
            started = dialect.insert(t.studies).values(**row).on_conflict_do_nothing(index_elements=["name"])
            write(self._engine, lambda connection: connection.execute(started))
            study = self.study(name)
        differences = study.spec.differences(spec)
        if differences and not (models := study.spec.other_models(spec)):
            raise ConfigError(
                f"study {name!r} exists with other settings ({'; '.join(differences)}): "
                "go back to them, or name a new study with --study"
            )
        if differences:
            _log.warning("study %s goes on with other models: %s", name, "; ".join(models))
            return self._renewed(replace(study, spec=spec, details={**study.details, **(details or {})}))
        if spec.candidates and not study.spec.candidates:  # it was begun by a version that did not tell them apart
            return self._renewed(replace(study, spec=replace(study.spec, candidates=spec.candidates)))
        return study

    def _renewed(self, study: Study) -> Study:
        """Keep another spec and other details of a study; its trials stay."""
        values = {"spec": asdict(study.spec), "details": study.details}
        statement = update(t.studies).where(t.studies.c.id == study.id).values(**values)
        write(self._engine, lambda connection: connection.execute(statement))
        return study

    def studies(self) -> list[Study]:
        """Every study, oldest first."""
        every = select(t.studies).order_by(t.studies.c.id)
        return [_study(row) for row in read(self._engine, lambda connection: connection.execute(every).all())]

    def study(self, name: str | None = None) -> Study:
        """The study of this name; the newest when None.

        Raises:
            ConfigError: When there is none; the message lists those there are.
        """
        known = self.studies()
        if not known:
            raise ConfigError(f"the store {self.location} has no study yet: run a search first")
        if name is None:
            return known[-1]
        for study in known:
            if study.name == storable(name):
                return study
        raise ConfigError(f"there is no study {name!r}; the store has {', '.join(s.name for s in known)}")

    def _find(self, name: str) -> Study | None:
        named = select(t.studies).where(t.studies.c.name == name)
        row = read(self._engine, lambda connection: connection.execute(named).one_or_none())
        return None if row is None else _study(row)

    # What a search writes

    def put_proposals(self, study: Study, proposals: Sequence[Proposal], *, round: int) -> None:
        """Record what is about to be evaluated, until `add_trial` or `extend_trial` records what came of it."""
        self._put(t.proposals, study, [{**proposal_row(each), "round": round} for each in proposals])

    def add_trial(
        self,
        study: Study,
        proposal: Proposal,
        evaluation: Evaluation,
        *,
        cost: float,
        searcher: str,
        round: int,
        at_most: int | None = None,
    ) -> Trial:
        """Record a trial under the next number, and return it.

        Another process that searches the same study may have been faster: its trial of the allocation then stands.

        Args:
            study: Whose trial it is.
            proposal: What was tried, and why.
            evaluation: What it gave.
            cost: Of one query.
            searcher: Who proposed it.
            round: Trials that were there when it was proposed.
            at_most: How many trials the study may have.

        Raises:
            LimitReached: When other processes have meanwhile filled the study.
        """
        now, bare = _now(), replace(evaluation, transcripts={})
        trial = Trial(
            number=0,
            allocation=proposal.allocation.in_order(study.spec.sizes),
            cost=cost,
            evaluation=bare,
            searcher=searcher,
            rationale=proposal.rationale,
            round=round,
            created=now,
            looks=(_look(evaluation, now),),
        )
        row = {**trial_row(trial), "study_id": study.id}

        def added(connection: Connection) -> int | None:
            _lock_study(connection, study)
            mine = t.trials.c.study_id == study.id
            known = select(t.trials.c.id).where(mine, t.trials.c.allocation == row["allocation"])
            if connection.execute(known).first() is not None:
                return None
            connection.execute(_proposal_of(study, trial.allocation.key))
            # No trial is ever deleted: the last number is how many there are, and the index has it without counting.
            last = select(func.coalesce(func.max(t.trials.c.number), 0)).where(mine)
            number = int(connection.execute(last).scalar_one()) + 1
            if at_most is not None and number > at_most:
                raise LimitReached(
                    f"{at_most} trials done: another process was faster, and what this one paid for is in the sample "
                    "pool"
                )
            connection.execute(insert(t.trials).values(**{**row, "number": number}))
            keep_transcripts(connection, study.id, number, evaluation)
            return number

        number = write(self._engine, added)
        if number is None:
            return next(each for each in self._trials(study) if each.allocation == trial.allocation)
        return replace(trial, number=number)

    def extend_trial(
        self,
        study: Study,
        trial: Trial,
        evaluation: Evaluation,
        *,
        cost: Callable[[Evaluation], float] | None = None,
    ) -> Trial:
        """Add further examples to a trial, and return it; those that another process has added meanwhile stand.

        Args:
            study: Whose trial it is.
            trial: What is extended.
            evaluation: What the further examples gave.
            cost: What one query costs, as the whole evaluation shows; it stays as it is when None.
        """
        mine, reader = (t.trials.c.study_id == study.id) & (t.trials.c.number == trial.number), EvaluationReader()

        def extended(connection: Connection) -> Trial:
            _lock_study(connection, study)
            row = connection.execute(select(t.trials.c.evaluation, t.trials.c.looks).where(mine)).one()
            known, looks = reader(row.evaluation), reader.looks(row.looks)
            whole = replace(known.extended(evaluation), transcripts={})
            keep_transcripts(connection, study.id, trial.number, evaluation, known=known)
            priced = trial.cost if cost is None else cost(whole)
            evaluated = evaluation_json(whole)
            values = {"score": whole.score, "cost": priced, "evaluation": evaluated}
            if looks:  # else when it saw the earlier ones is not known, and this one alone would mislead
                looks = (*looks, _look(whole, _now()))
                values["looks"] = looks_json(looks)
            connection.execute(update(t.trials).where(mine).values(**values))
            connection.execute(_proposal_of(study, trial.allocation.key))
            return replace(trial, cost=priced, evaluation=whole, looks=looks)

        return write(self._engine, extended)

    def put_counterfactuals(self, study: Study, found: Sequence[Trial]) -> None:
        """Record counterfactual trials, each in place of an older one of its allocation."""
        self._put(t.counterfactuals, study, [counterfactual_row(trial) for trial in found])

    def add_validation(self, study: Study, allocation: Allocation, evaluation: Evaluation) -> None:
        """Record the check of an allocation on held-out examples, in place of an older one."""
        row = {"allocation": allocation.key, "evaluation": evaluation_json(evaluation), "created": _now()}
        mine = (t.trials.c.study_id == study.id) & (t.trials.c.allocation == allocation.key)

        def also(connection: Connection) -> None:
            number = connection.execute(select(t.trials.c.number).where(mine)).scalar_one_or_none()
            if number is not None:
                keep_transcripts(connection, study.id, number, evaluation, held_out=True)

        self._put(t.validations, study, [row], also=also)

    def _put(
        self,
        table: Table,
        study: Study,
        rows: Sequence[Mapping[str, Any]],
        *,
        also: Callable[[Connection], None] = lambda _: None,
    ) -> None:
        """Record rows of allocations, each in place of an older one of its allocation; `also` in one transaction."""
        keys = [row["allocation"] for row in rows]
        older = delete(table).where(table.c.study_id == study.id, table.c.allocation.in_(keys))

        def put(connection: Connection) -> None:
            _lock_study(connection, study)
            connection.execute(older)
            connection.execute(insert(table), [{**row, "study_id": study.id} for row in rows])
            also(connection)

        if rows:
            write(self._engine, put)

    def add_cache_use(self, study: Study, used: Mapping[str, tuple[int, int]]) -> dict[str, tuple[int, int]]:
        """Add to what the study's servers looked up in their prefix caches and found there, in tokens by model.

        Returns:
            The sums, earlier searches of the study included.
        """
        mine = t.studies.c.id == study.id

        def added(connection: Connection) -> dict[str, tuple[int, int]]:
            details = connection.execute(select(t.studies.c.details).where(mine).with_for_update()).scalar_one()
            sums = cache_uses(details)
            for name, (looked_up, found) in used.items():
                before = sums.get(name, (0, 0))
                sums[name] = before[0] + looked_up, before[1] + found
            if used:
                connection.execute(update(t.studies).where(mine).values(details={**details, PREFIX_CACHES: sums}))
            return sums

        return write(self._engine, added)

    def add_refusal(self, study: Study, refusal: Refusal) -> None:
        """Record a proposal that was not evaluated."""
        row = {**vars(refusal), "allocation": refusal.allocation.key, "reasons": list(refusal.reasons)}
        added = insert(t.refusals).values(study_id=study.id, created=_now(), **row)
        write(self._engine, lambda connection: connection.execute(added))

    def add_step(self, study: Study, step: AgentStep) -> None:
        """Record a step of the agent."""
        row = {**vars(step), "spend": asdict(step.spend)}
        added = insert(t.steps).values(study_id=study.id, created=_now(), **row)
        write(self._engine, lambda connection: connection.execute(added))

    # What a search reads

    @_uncollected()
    def archive(self, study: Study) -> Archive:
        """The read-only view of a study: what a searcher is a function of."""
        trials = self._trials(study)
        kept = tuple(trial for trial in trials if study.spec.has(trial.allocation))
        return Archive(
            trials=kept,
            set_aside=len(trials) - len(kept),
            refusals=tuple(self._refusals(study)),
            guidelines=tuple(self._guidelines(study)),
            examples=study.spec.examples,
            counterfactuals=tuple(each for each in self._counterfactuals(study) if study.spec.has(each.allocation)),
            experience=study.spec.experience,
        )

    def proposals(self, study: Study) -> list[tuple[Proposal, int]]:
        """What was being evaluated when the searches of a study ended or were killed, each with its round."""
        rows = self._rows(t.proposals, study)
        found = [(proposal_of(row, study.spec.sizes), row.round) for row in rows]
        return [each for each in found if study.spec.has(each[0].allocation)]

    def count_trials(self, study: Study) -> int:
        """How many trials a study has, those of other processes included."""
        counted = select(func.count()).select_from(t.trials).where(t.trials.c.study_id == study.id)
        return int(read(self._engine, lambda connection: connection.execute(counted).scalar_one()))

    def validation(self, study: Study, allocation: Allocation, *, partly: bool = False) -> Evaluation | None:
        """The recorded check of an allocation on held-out examples; None when there is none.

        Args:
            study: Whose allocation it is.
            allocation: What was checked.
            partly: Whether a check in which examples are missing will do.
        """
        for row in reversed(self._rows(t.validations, study)):
            if row.allocation == allocation.key:
                check = EvaluationReader()(row.evaluation)
                return check if partly or check.whole else None
        return None

    def steps(self, study: Study) -> list[AgentStep]:
        """Every step of the agent, in the order in which it ran."""
        return [step_of(row) for row in self._rows(t.steps, study)]

    def spend(self, study: Study) -> Spend:
        """Everything a study paid for: samples (finished trials or not) and the agent's own calls.

        Reuse and seconds are known of finished trials and checks only.
        """
        total = self._sum(t.purchases, study, {name: t.purchases.c[name] for name in _BOUGHT})
        total += self._sum(t.trials, study, {name: _spent(self._engine, name) for name in _UNBOUGHT})
        total += self._sum(t.validations, study, _parts(t.validations.c.evaluation["spend"], _UNBOUGHT))
        return total + self.own_spend(study)

    def own_spend(self, study: Study) -> Spend:
        """What of a study's spend the agent's own calls took."""
        return self._sum(t.steps, study, _parts(t.steps.c.spend, (*_BOUGHT, *_UNBOUGHT)))

    def _sum(self, table: Table, study: Study, columns: Mapping[str, ColumnElement[Any]]) -> Spend:
        """Added up by the database: a long study need not be read for it."""
        sums = [func.coalesce(func.sum(column), 0).label(name) for name, column in columns.items()]
        summed = select(*sums).where(table.c.study_id == study.id)
        row = read(self._engine, lambda connection: connection.execute(summed).one())
        return SPEND.validate_python(row._asdict())

    def _trials(self, study: Study) -> list[Trial]:
        reader = EvaluationReader()
        return self._each(t.trials, study, lambda row: trial_of(row, study.spec.sizes, reader))

    def _counterfactuals(self, study: Study) -> list[Trial]:
        reader = EvaluationReader()
        found = self._each(t.counterfactuals, study, lambda row: counterfactual_of(row, study.spec.sizes, reader))
        return sorted(found, key=lambda trial: trial.allocation.key)

    def _guidelines(self, study: Study) -> list[Guideline]:
        """Those of `steps`, without the prompts that led to them: these are long, and many."""
        wanted = select(t.steps.c.round, t.steps.c.text, t.steps.c.evidence).order_by(t.steps.c.id)
        wanted = wanted.where(t.steps.c.study_id == study.id, t.steps.c.node == GUIDELINE_NODE)
        rows = read(self._engine, lambda connection: connection.execute(wanted).all())
        return [Guideline(round=number, text=text, evidence=evidence) for number, text, evidence in rows]

    def _refusals(self, study: Study) -> list[Refusal]:
        return [refusal_of(row) for row in self._rows(t.refusals, study)]

    def _rows(self, table: Any, study: Study) -> list[Row[Any]]:
        return self._each(table, study, lambda row: row)

    def _each(self, table: Any, study: Study, made: Callable[[Row[Any]], T]) -> list[T]:
        """What is made of each row of a study, one after another: a large study's rows take much more memory."""
        statement = select(table).where(table.c.study_id == study.id).order_by(table.c.id)
        some = statement.execution_options(yield_per=_AT_ONCE)
        return read(self._engine, lambda connection: [made(row) for row in connection.execute(some)])


def _proposal_of(study: Study, allocation: str) -> Delete:
    """What removes a proposal that has been dealt with."""
    return delete(t.proposals).where(t.proposals.c.study_id == study.id, t.proposals.c.allocation == allocation)


def _lock_study(connection: Connection, study: Study) -> None:
    """Let no other process change this study's trials until the end; a SQLite file is locked as a whole already."""
    connection.execute(select(t.studies.c.id).where(t.studies.c.id == study.id).with_for_update())


def _study(row: Row[Any]) -> Study:
    return Study(row.id, row.name, row.created, _SPEC.validate_python(row.spec), row.details)


def _look(evaluation: Evaluation, at: datetime) -> Look:
    return Look(at=at, examples=len(evaluation.results), spend=evaluation.spend)


def _spent(engine: Engine, name: str) -> ColumnElement[Any]:
    """A figure of a trial's spend: as of its newest look, which takes a tenth of reading its whole evaluation."""
    looks, whole = t.trials.c.looks, _parts(t.trials.c.evaluation["spend"], [name])[name]
    if engine.dialect.name == "postgresql":
        newest: ColumnElement[Any] = looks[(-1, "spend", name)].as_float()
    else:
        newest = func.json_extract(looks, f"$[#-1].spend.{name}")
    return case((looks.is_(None), whole), else_=newest)


def _parts(spend: Any, names: Iterable[str]) -> dict[str, ColumnElement[Any]]:
    """Figures of a spend that is kept as JSON."""
    return {name: spend[name].as_float() if name in ("usd", "seconds") else spend[name].as_integer() for name in names}


def _now() -> datetime:
    return datetime.now(UTC)
