"""Studies and what belongs to them, in a SQL database. No secret is ever stored."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import asdict, replace
from datetime import UTC, datetime
from functools import cached_property, partial
from typing import Any, ParamSpec, TypeVar

from pydantic import TypeAdapter
from sqlalchemy import Connection, Delete, Engine, Row, Table, delete, func, insert, select, update
from sqlalchemy.dialects import postgresql, sqlite

from agenttts._util.text import storable, storable_data
from agenttts.db import _schema as t
from agenttts.db._beside import WorkCall, fulfil
from agenttts.db._engine import open_engine, read, shown, write
from agenttts.db._overview import Overview
from agenttts.db._reading import StudyReader
from agenttts.db._rows import (
    EvaluationReader,
    counterfactual_row,
    evaluation_json,
    looks_json,
    proposal_row,
    trial_row,
)
from agenttts.db._samples import SampleTable
from agenttts.db._spends import charge, own_spend_of, spend_of, unbought
from agenttts.db._study import PREFIX_CACHES, Study, cache_uses
from agenttts.db._transcripts import TranscriptTable, keep_transcripts
from agenttts.db._upkeep import Upkeep
from agenttts.errors import ConfigError, LimitReached
from agenttts.llm.samples import Spend
from agenttts.space.allocation import Allocation
from agenttts.study.evaluation import Evaluation
from agenttts.study.spec import StudySpec
from agenttts.study.trial import AgentStep, Archive, Look, Proposal, Refusal, Trial

P = ParamSpec("P")
T = TypeVar("T")
_log = logging.getLogger(__name__)
_SPEC = TypeAdapter(StudySpec)


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

    async def beside(self, call: Callable[P, T], *arguments: P.args, **options: P.kwargs) -> T:
        """What a method of this store returns, without holding up the event loop.

        It is called by the thread that makes the sample pool's calls, after all that was asked of the store before;
        also where who waits for it is cancelled.

        Examples:
            >>> asyncio.run(store.beside(store.count_trials, store.study()))
            8
        """
        work, thread = partial(call, *arguments, **options), self.samples.thread
        if thread is None:
            return work()
        made: T = await thread.answer(WorkCall(work))
        return made

    def tell(self, call: Callable[P, T], *arguments: P.args, **options: P.kwargs) -> Future[T]:
        """As `beside`, for whoever cannot wait where it is told, in whatever thread: the future holds what it returns.

        Examples:
            >>> told = store.tell(store.count_trials, store.study())
            >>> told.result()
            8
        """
        work, thread = partial(call, *arguments, **options), self.samples.thread
        if thread is not None:
            return thread.tell(WorkCall(work))
        told: Future[T] = Future()
        fulfil(told, work)
        return told

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
            charge(connection, study.id, unbought(evaluation.spend))
            return number

        number = write(self._engine, added)
        if number is None:
            return next(each for each in self.archive(study).trials if each.allocation == trial.allocation)
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
            charge(connection, study.id, unbought(evaluation.spend))
            return replace(trial, cost=priced, evaluation=whole, looks=looks)

        return write(self._engine, extended)

    def put_counterfactuals(self, study: Study, found: Sequence[Trial]) -> None:
        """Record counterfactual trials, each in place of an older one of its allocation."""
        self._put(t.counterfactuals, study, [counterfactual_row(trial) for trial in found])

    def add_validation(self, study: Study, allocation: Allocation, evaluation: Evaluation) -> None:
        """Record the check of an allocation on held-out examples, in place of an older one."""
        row = {"allocation": allocation.key, "evaluation": evaluation_json(evaluation), "created": _now()}
        mine = (t.trials.c.study_id == study.id) & (t.trials.c.allocation == allocation.key)
        checks = t.validations.c
        older = select(checks.evaluation).where(checks.study_id == study.id, checks.allocation == allocation.key)

        def before(connection: Connection) -> None:
            number = connection.execute(select(t.trials.c.number).where(mine)).scalar_one_or_none()
            if number is not None:
                keep_transcripts(connection, study.id, number, evaluation, held_out=True)
            charged = [EvaluationReader()(known).spend for known in connection.execute(older).scalars()]
            charge(connection, study.id, unbought(evaluation.spend - sum(charged, Spend())))

        self._put(t.validations, study, [row], before=before)

    def _put(
        self,
        table: Table,
        study: Study,
        rows: Sequence[Mapping[str, Any]],
        *,
        before: Callable[[Connection], None] = lambda _: None,
    ) -> None:
        """Record rows of allocations, each in place of an older one of its allocation; `before` in one transaction."""
        keys = [row["allocation"] for row in rows]
        older = delete(table).where(table.c.study_id == study.id, table.c.allocation.in_(keys))

        def put(connection: Connection) -> None:
            _lock_study(connection, study)
            before(connection)
            connection.execute(older)
            connection.execute(insert(table), [{**row, "study_id": study.id} for row in rows])

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

        def recorded(connection: Connection) -> None:
            connection.execute(added)
            charge(connection, study.id, step.spend)

        write(self._engine, recorded)

    # What a search reads

    def archive(self, study: Study) -> Archive:
        """The read-only view of a study: what a searcher is a function of."""
        return StudyReader(self._engine, study).archive()

    def proposals(self, study: Study) -> list[tuple[Proposal, int]]:
        """What was being evaluated when the searches of a study ended or were killed, each with its round."""
        return StudyReader(self._engine, study).proposals()

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
        check = StudyReader(self._engine, study).validation(allocation)
        return check if check is not None and (partly or check.whole) else None

    def steps(self, study: Study) -> list[AgentStep]:
        """Every step of the agent, in the order in which it ran."""
        return StudyReader(self._engine, study).steps()

    def spend(self, study: Study) -> Spend:
        """Everything a study paid for: samples (finished trials or not) and the agent's own calls.

        Reuse and seconds are known of finished trials and checks only.
        """
        return spend_of(self._engine, study)

    def own_spend(self, study: Study) -> Spend:
        """What of a study's spend the agent's own calls took."""
        return own_spend_of(self._engine, study)


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


def _now() -> datetime:
    return datetime.now(UTC)
