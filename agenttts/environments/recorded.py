"""The recorded environment: scores looked up in a table of outcomes; no endpoint, nothing is paid for."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from agenttts._util.text import storable
from agenttts.environments.table import RecordedOutcome, Rows, read_table, source_of
from agenttts.errors import ConfigError
from agenttts.execution.pool import SamplePool
from agenttts.pipeline import Pipeline, Subtask
from agenttts.pipeline.fingerprint import fingerprint
from agenttts.protocols import Environment
from agenttts.space.allocation import Allocation
from agenttts.space.cost import Budget
from agenttts.study.evaluation import Evaluation, ExampleResult


class RecordedEnvironment(Environment):
    """Scores allocations from a table that you already have.

    Its pipeline prices and names what was recorded; it is never run, so any prompt and any metric do. The table of
    the example has the columns `retrieve.model`, `retrieve.samples`, `answer.model`, `answer.samples`, `example` and
    `score` (see `environments.table`). Without the column `example` a row is the score of its allocation, taken as one
    example. `environment.pipeline` is the given pipeline limited to the recorded models, numbers of samples and
    allocations: search that one. Not every combination needs to be recorded.

    Examples:
        >>> models = (at.Model("8B", 8e9), at.Model("70B", 70e9))
        >>> retrieve = at.Subtask("retrieve", models, "recorded", prompt_tokens=2048, completion_tokens=32)
        >>> answer = at.Subtask("answer", models, "recorded", prompt_tokens=256, completion_tokens=64)
        >>> pipeline = at.Pipeline("rag", (retrieve, answer), at.metrics.equal("answer"))
        >>> environment = at.RecordedEnvironment(pipeline, "scores.csv")
        >>> space = at.SearchSpace(environment.pipeline, at.cost_model("paper"), 900)

    Args:
        pipeline: Its subtasks and models are those of the table.
        table: The path of a CSV (plain or .gz) or Parquet file, or rows as mappings of column to value.
        held_out: Ids of the examples on which the winner is checked, which no search sees; as the table's column
            `held_out` says (none without one) when None.
        name: Shown in tables; the pipeline's name when empty.
        default_budget: The budget of a search that names none.

    Raises:
        ConfigError: On a fault of the table; the message names the file, the line and the column.
    """

    recorded = "recorded outcomes; no model runs"

    def __init__(
        self,
        pipeline: Pipeline,
        table: str | Path | Rows,
        *,
        held_out: Iterable[str] | None = None,
        name: str = "",
        default_budget: Budget | None = None,
    ) -> None:
        self.name = name or pipeline.name
        self.default_budget = default_budget
        self._source = source_of(table)
        self._results = _by_allocation(read_table(table, pipeline), self._source)
        first = next(iter(self._results.values()))
        if any(outcome.simulated for rows in self._results.values() for outcome in rows.values()):
            self.recorded = "recorded outcomes of simulated models; no LLM runs"
        marked = [name for name, outcome in first.items() if outcome.held_out]
        kept = set(marked if held_out is None else map(storable, held_out))
        if unknown := sorted(kept - set(first)):
            raise ConfigError(f"{self._source} has no example {unknown[0]!r}, which is to be held out")
        self.examples = tuple(example for example in first if example not in kept)
        self.held_out = tuple(example for example in first if example in kept)
        if not self.examples:
            raise ConfigError(f"{self._source} holds every example out: leave some to search on")
        subtasks = tuple(_recorded_part(subtask, list(self._results)) for subtask in pipeline.subtasks)
        self.pipeline = replace(pipeline, subtasks=subtasks, only=frozenset(each.key for each in self._results))

    @property
    def allocations(self) -> tuple[Allocation, ...]:
        """The recorded allocations, in the order of the table."""
        return tuple(self._results)

    @property
    def fingerprints(self) -> Mapping[str, str]:
        """One part: the outcomes."""
        return {"the recorded outcomes": self.fingerprint}

    @property
    def fingerprint(self) -> str:
        """Hash of the recorded outcomes of every example, held-out ones included: a check of the winner is kept."""
        names = [*self.examples, *self.held_out]
        content = [
            [allocation.key, [[name, rows[name].score, dict(rows[name].subtask_scores)] for name in names]]
            for allocation, rows in sorted(self._results.items(), key=lambda item: item[0].key)
        ]
        return fingerprint(json.dumps(content, sort_keys=True))

    @property
    def uncovered(self) -> tuple[str, ...]:
        """Nothing: the pipeline is not run."""
        return ()

    async def evaluate(
        self, allocation: Allocation, examples: Sequence[str] | None = None, *, pool: SamplePool | None = None
    ) -> Evaluation:
        """See `protocols.Environment.evaluate`.

        Raises:
            ConfigError: When the allocation or an example is not in the table.
        """
        rows = self._results.get(allocation)
        if rows is None:
            raise ConfigError(
                f"{self._source} has no row for the allocation {allocation}; it has rows for "
                f"{len(self._results):,} other allocations"
            )
        names = self.examples if examples is None else examples
        return Evaluation(results=tuple(self._result(rows, name) for name in names))

    def _result(self, rows: dict[str, RecordedOutcome], name: str) -> ExampleResult:
        if name not in rows:
            raise ConfigError(f"environment {self.name!r} has no example {name!r}")
        return ExampleResult(example=name, score=rows[name].score, subtask_scores=rows[name].subtask_scores)


def _by_allocation(outcomes: Iterable[RecordedOutcome], source: str) -> dict[Allocation, dict[str, RecordedOutcome]]:
    """Allocation -> example -> outcome, every allocation with the same examples."""
    found: dict[Allocation, dict[str, RecordedOutcome]] = {}
    for outcome in outcomes:
        rows = found.setdefault(outcome.allocation, {})
        if outcome.example in rows:
            raise ConfigError(
                f"{outcome.place}, column 'example': {outcome.allocation} has example {outcome.example!r} already "
                f"({rows[outcome.example].place})"
            )
        rows[outcome.example] = outcome
    if not found:
        raise ConfigError(f"{source} has no rows")
    first, expected = next(iter(found.items()))
    for allocation, rows in found.items():
        _require_same_examples(first, expected, allocation, rows)
    return found


def _require_same_examples(
    first: Allocation, expected: dict[str, RecordedOutcome], allocation: Allocation, rows: dict[str, RecordedOutcome]
) -> None:
    place = next(iter(rows.values())).place
    for example in [example for example in expected if example not in rows]:
        raise ConfigError(
            f"{place}, column 'example': {allocation} has no example {example!r}, which {first} has: every allocation "
            "needs the same examples"
        )
    for example, outcome in rows.items():
        if example not in expected:
            raise ConfigError(
                f"{outcome.place}, column 'example': {allocation} has example {example!r}, which {first} lacks: every "
                "allocation needs the same examples"
            )
        if outcome.held_out != expected[example].held_out:
            raise ConfigError(
                f"{outcome.place}, column 'held_out': example {example!r} is {outcome.held_out}, but "
                f"{expected[example].held_out} before ({expected[example].place})"
            )


def _recorded_part(subtask: Subtask, allocations: Sequence[Allocation]) -> Subtask:
    """The subtask limited to its recorded models and numbers of samples."""
    choices = {allocation[subtask.name] for allocation in allocations}
    models = tuple(model for model in subtask.models if model.name in {choice.model for choice in choices})
    counts = tuple({choice.samples for choice in choices})
    return replace(subtask.only(models), sample_counts=counts, max_samples=max(counts))
