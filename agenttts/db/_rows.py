"""What a study holds, as rows of its tables, and back."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from operator import itemgetter
from typing import Any, TypeVar

from pydantic import TypeAdapter
from sqlalchemy import Row

from agenttts.db import _schema as t
from agenttts.llm.samples import Spend
from agenttts.space.allocation import Allocation
from agenttts.study.evaluation import Evaluation, ExampleResult, SubtaskUsage
from agenttts.study.trial import COUNTERFACTUAL, AgentStep, Look, Proposal, Refusal, Trial

EVALUATION = TypeAdapter(Evaluation)
LOOKS = TypeAdapter(tuple[Look, ...])
SPEND = TypeAdapter(Spend)
T = TypeVar("T")
_NO_RESULT: Mapping[str, Any] = {"error": None, "subtask_scores": {}, "output": ""}
_PLAIN = ("example", "score", "output")
_PLAIN_ROWS = {count: itemgetter(*_PLAIN[:count]) for count in (2, 3)}
"""How many things a row of a result says -> what takes them out of it, where they are the first of `_PLAIN`."""
_NO_EVALUATION: Mapping[str, Any] = {"missing": {}, "refused": {}, "transcripts": {}}
_NO_TRIAL: Mapping[str, Any] = {"scored_by": None}
_NO_SPEND, _NO_USAGE = vars(Spend()), vars(SubtaskUsage())
"""What rows lack where it is so."""
_STEP = ("round", "node", "planner", "text", "evidence", "prompt", "reply")


def evaluation_json(evaluation: Evaluation) -> Any:
    """An evaluation as a table keeps it, without what is at its default; its transcripts have a table of their own."""
    return EVALUATION.dump_python(evaluation, mode="json", exclude={"transcripts"}, exclude_defaults=True)


def looks_json(looks: tuple[Look, ...]) -> Any:
    """Looks as a table keeps them."""
    return LOOKS.dump_python(looks, mode="json", exclude_defaults=True)


class _PlainResults(dict[tuple[Any, ...], ExampleResult]):
    """Results that say `_PLAIN` and nothing else, by that; each is made when it is first asked for."""

    def __missing__(self, said: tuple[Any, ...]) -> ExampleResult:
        made = self[said] = _unchecked(ExampleResult, _NO_RESULT, dict(zip(_PLAIN, said, strict=False)))
        return made


class EvaluationReader:
    """Reads evaluations as tables keep them. They were checked when they were made, and are not once more.

    Most results and spends of many trials are equal to others: those of one reader are one object.
    """

    def __init__(self) -> None:
        self._plain = _PlainResults()
        self._results: dict[tuple[Any, ...], ExampleResult] = {}
        self._spends: dict[tuple[Any, ...], Spend] = {}

    def __call__(self, data: Mapping[str, Any]) -> Evaluation:
        """The evaluation of a row."""
        values = {
            **data,
            "results": self._results_of(data["results"]),
            "spend": self._spend(data.get("spend", {})),
            "usage": {
                name: _unchecked(SubtaskUsage, _NO_USAGE, usage) for name, usage in data.get("usage", {}).items()
            },
        }
        return _unchecked(Evaluation, _NO_EVALUATION, values)

    def looks(self, rows: Iterable[Mapping[str, Any]] | None) -> tuple[Look, ...]:
        """The looks of a row; none where it was recorded by a version that did not keep them."""
        return tuple(
            [
                _unchecked(Look, row, {"at": datetime.fromisoformat(row["at"]), "spend": self._spend(row["spend"])})
                for row in rows or ()
            ]
        )

    def _results_of(self, rows: Sequence[Mapping[str, Any]]) -> tuple[ExampleResult, ...]:
        """The results of a trial: without a step of Python for each where none of them says more than `_PLAIN`."""
        counts = set(map(len, rows))
        if len(counts) == 1 and (plain := _PLAIN_ROWS.get(counts.pop())):
            with suppress(KeyError):  # one says something else
                return tuple(map(self._plain.__getitem__, map(plain, rows)))
        return tuple(map(self._result, rows))

    def _result(self, row: Mapping[str, Any]) -> ExampleResult:
        scores = row.get("subtask_scores")
        key = (row["example"], row["score"], row.get("error"), row.get("output"), *(scores.items() if scores else ()))
        if (known := self._results.get(key)) is None:
            known = self._results[key] = _unchecked(ExampleResult, _NO_RESULT, row)
        return known

    def _spend(self, row: Mapping[str, Any]) -> Spend:
        key = tuple(row.items())
        if (known := self._spends.get(key)) is None:
            known = self._spends[key] = _unchecked(Spend, _NO_SPEND, row)
        return known


def _unchecked(kind: type[T], defaults: Mapping[str, Any], values: Mapping[str, Any]) -> T:
    made = object.__new__(kind)
    fields = made.__dict__
    fields.update(defaults)
    fields.update(values)
    return made


def trial_row(trial: Trial) -> dict[str, Any]:
    """A trial as a row."""
    return {
        **{name: value for name, value in vars(trial).items() if name in t.trials.c},
        "allocation": trial.allocation.key,
        "score": trial.evaluation.score,
        "evaluation": evaluation_json(trial.evaluation),
        "looks": looks_json(trial.looks),
    }


def trial_of(row: Row[Any], stages: Mapping[str, Any], read: EvaluationReader | None = None) -> Trial:
    """The trial of a row; its allocation in the order of the stages."""
    read = read or EvaluationReader()
    values = {
        "number": row.number,
        "allocation": Allocation.from_key(row.allocation).in_order(stages),
        "cost": row.cost,
        "evaluation": read(row.evaluation),
        "searcher": row.searcher,
        "rationale": row.rationale,
        "round": row.round,
        "created": row.created,
        "looks": read.looks(row.looks),
    }
    return _unchecked(Trial, _NO_TRIAL, values)


def counterfactual_row(trial: Trial) -> dict[str, Any]:
    """A counterfactual trial as a row."""
    return {
        "allocation": trial.allocation.key,
        "cost": trial.cost,
        "scored_by": trial.scored_by,
        "round": trial.round,
        "created": trial.created,
        "evaluation": evaluation_json(trial.evaluation),
    }


def counterfactual_of(row: Row[Any], stages: Mapping[str, Any], read: EvaluationReader) -> Trial:
    """The counterfactual trial of a row; its allocation in the order of the stages."""
    return Trial(
        number=0,
        allocation=Allocation.from_key(row.allocation).in_order(stages),
        cost=row.cost,
        evaluation=read(row.evaluation),
        searcher=COUNTERFACTUAL,
        rationale="",
        round=row.round,
        created=row.created,
        scored_by=row.scored_by,
    )


def proposal_row(proposal: Proposal) -> dict[str, Any]:
    """A proposal as a row."""
    return {**vars(proposal), "allocation": proposal.allocation.key}


def proposal_of(row: Row[Any], stages: Mapping[str, Any]) -> Proposal:
    """The proposal of a row; its allocation in the order of the stages."""
    allocation = Allocation.from_key(row.allocation).in_order(stages)
    return Proposal(allocation, row.rationale, row.searcher, row.examples)


def refusal_of(row: Row[Any]) -> Refusal:
    """The refusal of a row."""
    return Refusal(
        allocation=Allocation.from_key(row.allocation),
        reasons=tuple(row.reasons),
        searcher=row.searcher,
        round=row.round,
    )


def step_of(row: Row[Any]) -> AgentStep:
    """The agent's step of a row."""
    return AgentStep(**{name: getattr(row, name) for name in _STEP}, spend=SPEND.validate_python(row.spend))
