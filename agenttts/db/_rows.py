"""What a study holds, as rows of its tables, and back."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from datetime import datetime
from typing import Any, TypeVar

from pydantic import TypeAdapter
from sqlalchemy import Row, Text, cast

from agenttts.db import _schema as t
from agenttts.db._engine import read_json
from agenttts.llm.samples import Spend
from agenttts.space.allocation import Allocation
from agenttts.study.evaluation import Evaluation, ExampleResult, SubtaskUsage
from agenttts.study.trial import COUNTERFACTUAL, AgentStep, Look, Proposal, Refusal, Trial

EVALUATION = TypeAdapter(Evaluation)
LOOKS = TypeAdapter(tuple[Look, ...])
SPEND = TypeAdapter(Spend)
T = TypeVar("T")
_NO_RESULT: Mapping[str, Any] = {"error": None, "subtask_scores": {}, "output": ""}
_NO_EVALUATION: Mapping[str, Any] = {"missing": {}, "refused": {}, "transcripts": {}}
_NO_TRIAL: Mapping[str, Any] = {"scored_by": None}
_NO_SPEND, _NO_USAGE = vars(Spend()), vars(SubtaskUsage())
"""What rows lack where it is so."""
_SCORES = "subtask_scores"
TRIAL = (
    t.trials.c.id, t.trials.c.number, t.trials.c.allocation, t.trials.c.cost, t.trials.c.searcher, t.trials.c.rationale,
    t.trials.c.round, t.trials.c.created, cast(t.trials.c.evaluation, Text), cast(t.trials.c.looks, Text),
)  # fmt: skip
"""The columns that `trial_of` reads; JSON as the text that it is kept as."""
_STEP = ("round", "node", "planner", "text", "evidence", "prompt", "reply")


def evaluation_json(evaluation: Evaluation) -> Any:
    """An evaluation as a table keeps it, without what is at its default; its transcripts have a table of their own."""
    apart = {"transcripts", "results"}
    written = EVALUATION.dump_python(evaluation, mode="json", exclude=apart, exclude_defaults=True)
    return {"results": _results_json(evaluation.results), **written}


def _results_json(results: Sequence[ExampleResult]) -> dict[str, list[Any]]:
    """Field -> what each of the results has there; without fields at which all of them are at their default."""
    columns = {each.name: [getattr(result, each.name) for result in results] for each in fields(ExampleResult)}
    return {name: values for name, values in columns.items() if any(v != _NO_RESULT.get(name) for v in values)}


def looks_json(looks: tuple[Look, ...]) -> Any:
    """Looks as a table keeps them."""
    return LOOKS.dump_python(looks, mode="json", exclude_defaults=True)


class _Results(dict[tuple[Any, ...], ExampleResult]):
    """Results by what they have in the fields of these names; each is made when it is first asked for."""

    def __init__(self, names: Sequence[str]) -> None:
        self._names = names

    def __missing__(self, said: tuple[Any, ...]) -> ExampleResult:
        values = dict(zip(self._names, said, strict=True))
        values[_SCORES] = dict(values.get(_SCORES, ()))
        made = self[said] = _unchecked(ExampleResult, _NO_RESULT, values)
        return made


class EvaluationReader:
    """Reads evaluations as tables keep them. They were checked when they were made, and are not once more.

    Most results and spends of many trials are equal to others: those of one reader are one object.
    """

    def __init__(self) -> None:
        self._results: dict[tuple[str, ...], _Results] = {}
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

    def _results_of(self, columns: Mapping[str, list[Any]]) -> tuple[ExampleResult, ...]:
        """The results of a trial, without a step of Python for each."""
        if _SCORES in columns:  # mappings are no keys
            columns = {**columns, _SCORES: [tuple(scores.items()) for scores in columns[_SCORES]]}
        names = tuple(columns)
        if (known := self._results.get(names)) is None:
            known = self._results[names] = _Results(names)
        return tuple(map(known.__getitem__, zip(*columns.values(), strict=True)))

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


def trial_of(row: Sequence[Any], stages: Mapping[str, Any], read: EvaluationReader | None = None) -> Trial:
    """The trial of a row of `TRIAL`; its allocation in the order of the stages."""
    read = read or EvaluationReader()
    _, number, allocation, cost, searcher, rationale, round_, created, evaluation, looks = row
    values = {
        "number": number,
        "allocation": Allocation.from_key(allocation).in_order(stages),
        "cost": cost,
        "evaluation": read(read_json(evaluation, kept="keys")),
        "searcher": searcher,
        "rationale": rationale,
        "round": round_,
        "created": created,
        "looks": read.looks(read_json(looks, kept="keys")) if looks else (),
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
