"""Searching a table of recorded outcomes: what it gives, what it refuses, and that it is the same from every source."""

from __future__ import annotations

import csv
import gzip
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import agenttts as at
from agenttts._util.numbers import as_budget
from agenttts.baselines import RandomSearcher
from agenttts.environments import RecordedEnvironment
from agenttts.environments.table import RecordedOutcome, write_table
from agenttts.errors import ConfigError
from agenttts.llm.samples import Spend
from agenttts.protocols import Environment
from agenttts.report import summary_lines
from agenttts.study.trial import Archive, Proposal

MODELS = (at.Model("small", 1e6), at.Model("large", 8e6), at.Model("unused", 9e6))
PIPELINE = at.Pipeline(
    "table",
    (at.Subtask("find", MODELS, "recorded", max_samples=3), at.Subtask("answer", MODELS, "recorded")),
    metric=at.metrics.equal("gold"),
)
COUNTS = (1, 4, 16)
ALLOCATION = at.Allocation({"find": ("small", 4), "answer": ("large", 16)})


def rows(*, held_out: bool = True) -> list[dict[str, Any]]:
    """Two models and three sample counts in each stage, five examples of which the last is held out."""
    return [
        {
            "find.model": find, "find.samples": m, "answer.model": answer, "answer.samples": n, "example": f"e{i}",
            "score": float((i + m + n) % 3 > 0), "find.score": 0.5, "note": "ignored",
        } | ({"held_out": i == 4} if held_out else {})
        for find in ("small", "large") for m in COUNTS for answer in ("small", "large") for n in COUNTS
        for i in range(5)
    ]  # fmt: skip


def written(path: Path, table: list[dict[str, Any]]) -> Path:
    with gzip.open(path, "wt", newline="") if path.suffix == ".gz" else path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(table[0]))
        writer.writeheader()
        writer.writerows(table)
    return path


async def test_scores_are_those_of_the_table_and_cost_nothing(tmp_path: Path) -> None:
    environment = RecordedEnvironment(PIPELINE, written(tmp_path / "t.csv", rows()))
    assert isinstance(environment, Environment)
    assert environment.examples == ("e0", "e1", "e2", "e3") and environment.held_out == ("e4",)
    evaluation = await environment.evaluate(ALLOCATION)
    assert [result.score for result in evaluation.results] == [1, 0, 1, 1]
    assert evaluation.subtask_scores == {"find": 0.5} and evaluation.spend == Spend() and evaluation.failures == 0
    (held_out,) = (await environment.evaluate(ALLOCATION, environment.held_out)).results
    assert (held_out.example, held_out.score) == ("e4", 0)
    assert (await environment.evaluate(ALLOCATION, ["e2", "e1"])).score == 0.5


async def test_every_source_gives_the_same(tmp_path: Path) -> None:
    files = [written(tmp_path / name, rows()) for name in ("t.csv", "t.csv.gz")]
    found = [RecordedEnvironment(PIPELINE, source) for source in (rows(), iter(rows()), files[0], str(files[1]))]
    assert len({environment.fingerprint for environment in found}) == 1
    assert len({environment.allocations for environment in found}) == 1
    changed = rows()
    changed[0]["score"] = 0.25
    assert RecordedEnvironment(PIPELINE, changed).fingerprint != found[0].fingerprint


def test_the_pipeline_is_limited_to_what_was_recorded() -> None:
    environment = RecordedEnvironment(PIPELINE, rows())
    for subtask in environment.pipeline.subtasks:
        assert [model.name for model in subtask.models] == ["small", "large"]
        assert subtask.sample_counts == COUNTS
    space = at.SearchSpace(environment.pipeline, at.cost_model("flops"), 1e9)
    assert set(space.enumerate()) == set(environment.allocations) and space.size == 36


@given(st.floats(0.01, 1.0))
async def test_a_search_stays_in_the_table(share: float) -> None:
    environment = RecordedEnvironment(PIPELINE, rows())
    whole = at.SearchSpace(environment.pipeline, at.cost_model("flops"), 1e9)
    budget = whole.cost(whole.cheapest) + share * max(map(whole.cost, whole.enumerate()))
    space = at.SearchSpace(environment.pipeline, at.cost_model("flops"), budget)
    drawn = space.sample(np.random.default_rng(int(share * 1e6)), 10)
    steps = [step for allocation in drawn for step in space.neighbours(allocation)]
    for allocation in [*drawn, *steps, space.cheapest]:
        assert (await environment.evaluate(allocation)).failures == 0


@pytest.mark.parametrize("column", ["find.model", "answer.samples", "example", "score"])
def test_a_cell_that_holds_several_values_is_named(column: str) -> None:
    table = rows()
    table[2][column] = [1, 2]
    with pytest.raises(ConfigError, match=f"row 3 of the table, column '{column}': \\[1, 2\\] is not a single value"):
        RecordedEnvironment(PIPELINE, table)


def test_other_scores_of_held_out_examples_are_another_study() -> None:
    changed = rows()
    changed[4]["score"] = 1 - changed[4]["score"]
    assert RecordedEnvironment(PIPELINE, changed).fingerprint != RecordedEnvironment(PIPELINE, rows()).fingerprint


async def test_a_search_finds_nothing_to_buy_and_checks_the_winner() -> None:
    environment = RecordedEnvironment(PIPELINE, rows())
    space = at.SearchSpace(environment.pipeline, at.cost_model("flops"), 1e9)
    result = await at.search(
        environment, at.searcher("random"), space, ":memory:", study_name="s", limits=at.Limits(trials=40)
    )
    assert len(result.archive.trials) == space.size and result.stopped.endswith("nothing new to propose")
    assert result.validation is not None and result.spend.tokens == 0
    assert result.study.details["recorded"] == "recorded outcomes; no model runs"


def test_held_out_examples_may_be_named_and_none_is_fine() -> None:
    named = RecordedEnvironment(PIPELINE, rows(), held_out=["e0"])
    assert named.examples == ("e1", "e2", "e3", "e4") and named.held_out == ("e0",)
    assert RecordedEnvironment(PIPELINE, rows(held_out=False)).held_out == ()
    with pytest.raises(ConfigError, match="the table has no example 'e9', which is to be held out"):
        RecordedEnvironment(PIPELINE, rows(), held_out=["e9"])
    with pytest.raises(ConfigError, match="holds every example out"):
        RecordedEnvironment(PIPELINE, rows(), held_out=[f"e{i}" for i in range(5)])


async def test_without_examples_a_row_is_the_score_of_its_allocation() -> None:
    whole = [{k: v for k, v in row.items() if k != "example"} | {"score": 0.7} for row in rows(held_out=False)[::5]]
    environment = RecordedEnvironment(PIPELINE, whole)
    evaluation = await environment.evaluate(ALLOCATION)
    assert evaluation.score == 0.7 and len(evaluation.results) == 1


async def test_what_is_not_in_the_table_is_refused_by_name() -> None:
    environment = RecordedEnvironment(PIPELINE, [row for row in rows() if row["find.samples"] != row["answer.samples"]])
    missing = at.Allocation({"find": ("small", 1), "answer": ("large", 1)})
    message = "the table has no row for the allocation find: small x1, answer: large x1; it has rows for 24 other"
    with pytest.raises(ConfigError, match=message):
        await environment.evaluate(missing)
    with pytest.raises(ConfigError, match="environment 'table' has no example 'e77'"):
        await environment.evaluate(ALLOCATION, ["e77"])


def sparse() -> RecordedEnvironment:
    """A table that has 9 of its 36 combinations."""
    every = list(dict.fromkeys(RecordedEnvironment(PIPELINE, rows()).allocations))
    kept = {each.key for each in every[::4]}
    return RecordedEnvironment(PIPELINE, [row for row in rows() if key(row) in kept])


def key(row: dict[str, Any]) -> str:
    """Of the row's allocation."""
    return at.Allocation({s: (row[f"{s}.model"], row[f"{s}.samples"]) for s in ("find", "answer")}).key


@pytest.mark.parametrize("method", ["agent", "random", "grid", "tpe", "evolution", "coordinate", "halving", "gp"])
async def test_of_a_table_with_gaps_every_method_tries_what_is_there(method: str) -> None:
    if method == "gp":
        pytest.importorskip("torch", reason="Optuna's Gaussian process needs PyTorch: pip install 'agenttts[gp]'")
    environment = sparse()
    space = at.SearchSpace(environment.pipeline, at.cost_model("flops"), 1e9)
    result = await at.search(
        environment,
        at.searcher(method, llm="none" if method == "agent" else None),
        space,
        ":memory:",
        study_name="s",
        limits=at.Limits(trials=9),
    )
    assert {trial.allocation for trial in result.archive.trials} == set(environment.allocations)
    assert not result.archive.refusals


async def test_the_agent_searches_a_table_of_whole_scores_with_gaps() -> None:
    rng = np.random.default_rng(1)
    table = [
        {
            "find.model": "small",
            "find.samples": int(m),
            "answer.model": "large",
            "answer.samples": int(n),
            "score": score,
        }
        for m, n, score in zip(rng.integers(1, 4, 30), rng.permutation(40)[:30] + 1, rng.random(30), strict=True)
    ]
    environment = RecordedEnvironment(PIPELINE, table)
    space = at.SearchSpace(environment.pipeline, at.cost_model("flops"), 1e9)
    agent = at.searcher("agent", llm="none")
    result = await at.search(environment, agent, space, ":memory:", study_name="s", limits=at.Limits(trials=30))
    assert len(result.archive.trials) == 30


async def test_what_a_table_with_gaps_lacks_is_rejected_before_it_is_paid_for_and_counted() -> None:
    environment = sparse()
    space = at.SearchSpace(environment.pipeline, at.cost_model("flops"), 1e9)
    missing = at.Allocation({"find": ("small", 1), "answer": ("small", 4)})
    (fault,) = space.faults(missing)
    assert fault.startswith(
        "it is not among the 9 allocations that can be tried; the nearest is find: small x1, answer"
    )

    class Stubborn(RandomSearcher):
        async def propose(self, archive: Archive, space: at.SearchSpace, count: int) -> list[Proposal]:
            return [Proposal(missing), *await super().propose(archive, space, count)]

    result = await at.search(
        environment, Stubborn(), space, ":memory:", study_name="s", limits=at.Limits(trials=3), parallel=1
    )
    assert len(result.archive.trials) == 3 and len(result.archive.refusals) == 3
    assert "3 proposals of the method were rejected before anything was paid for" in summary_lines(result)


def test_a_budget_shows_what_a_table_has_of_it() -> None:
    environment = sparse()
    whole = at.SearchSpace(environment.pipeline, at.cost_model("flops"), 1e9)
    assert whole.listed is not None and set(whole.enumerate()) == set(whole.listed) == set(environment.allocations)
    costs = sorted(map(whole.cost, environment.allocations))
    assert whole.cost(whole.cheapest) == costs[0]
    half = whole.within(costs[4])
    assert half.size == sum(cost <= costs[4] for cost in costs) < 9
    assert set(half.on_levels([1, 4, 16])) == set(half.enumerate())
    assert all(whole.nearest(each) == each for each in environment.allocations)
    with pytest.raises(ConfigError, match=f"needs at least {as_budget(costs[0], 'MFLOP')}"):
        whole.within(costs[0] * 0.99)


def test_a_table_that_is_whole_within_the_budget_has_no_gaps_there() -> None:
    environment = RecordedEnvironment(PIPELINE, rows())
    whole = at.SearchSpace(environment.pipeline, at.cost_model("flops"), 1e9)
    budget = sorted(map(whole.cost, whole.enumerate()))[20]
    affordable = {each.key for each in whole.within(budget).enumerate()}
    kept = [row for row in rows() if key(row) in affordable]  # as `record` writes them
    recorded = RecordedEnvironment(PIPELINE, kept).pipeline
    assert at.SearchSpace(recorded, at.cost_model("flops"), budget).listed is None
    assert at.SearchSpace(recorded, at.cost_model("flops"), 1e9).listed is not None


Change = Callable[[list[dict[str, Any]]], object]


def set_to(index: int, column: str, value: Any) -> Change:
    return lambda table: table[index].update({column: value})


def without(column: str) -> Change:
    return lambda table: [row.pop(column) for row in table]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            without("find.samples"),
            "t.csv: there is no column 'find.samples'; the columns are find.model",
        ),
        (without("score"), "t.csv: there is no column 'score'"),
        (set_to(1, "find.model", "huge"), "line 3, column 'find.model': subtask 'find' has no model 'huge'; it has sm"),
        (set_to(2, "answer.samples", "two"), "line 4, column 'answer.samples': 'two' is not a number"),
        (set_to(2, "answer.samples", 2.5), "line 4, column 'answer.samples': '2.5' is not a whole number >= 1"),
        (set_to(2, "answer.samples", 0), "line 4, column 'answer.samples': '0' is not a whole number >= 1"),
        (set_to(0, "score", 1.01), "line 2, column 'score': '1.01' is not in [0, 1]"),
        (set_to(0, "score", "nan"), "line 2, column 'score': 'nan' is not in [0, 1]"),
        (set_to(0, "score", ""), "line 2, column 'score': it is empty"),
        (set_to(0, "find.score", "high"), "line 2, column 'find.score': 'high' is not a number"),
        (set_to(0, "held_out", "maybe"), "line 2, column 'held_out': 'maybe' is neither true nor false"),
        (set_to(7, "held_out", True), "line 9, column 'held_out': example 'e2' is True, but False"),
        (set_to(3, "example", "e1"), "line 5, column 'example': find: small x1, answer: small x1 has example 'e1' alr"),
        (set_to(8, "example", "new"), "has no example 'e3', which find: small x1, answer: small x1 has"),
        (lambda table: table.append(table[-1] | {"example": "new"}), "has example 'new', which find: small x1, answer"),
        (lambda table: table.clear(), "has no rows"),
    ],
)
def test_faults_of_a_file_name_line_and_column(tmp_path: Path, change: Change, message: str) -> None:
    table = rows()
    change(table)
    path = tmp_path / "t.csv"
    if table:
        written(path, table)
    else:
        path.write_text("find.model,find.samples,answer.model,answer.samples,score\n")
    with pytest.raises(ConfigError) as caught:
        RecordedEnvironment(PIPELINE, path)
    assert message in str(caught.value) and str(path) in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("t.csv", b"a,a\n1,2\n", "line 1: there are two columns 'a'"),
        ("t.csv", b"a,b\n1,2,3\n", "line 2: it has 3 fields, the header has 2"),
        ("t.csv", b'a,b\n1,"2\n', "it is not CSV"),
        ("t.csv", b"a,b\n1,\xff\n", "it is not UTF-8 text"),
        ("t.csv", b"", "has no rows"),
        ("t.csv.gz", b"a,b\n1,2\n", "cannot read the table"),
        ("t.csv.gz", gzip.compress(b"a,b\n1,2\n" * 1000, mtime=0)[:30], "cannot read the table"),
    ],
)
def test_a_broken_file_is_one_sentence(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=message):
        RecordedEnvironment(PIPELINE, path)


def test_a_missing_file_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot read the table .*none.csv': No such file"):
        RecordedEnvironment(PIPELINE, tmp_path / "none.csv")


OUTCOMES = [
    RecordedOutcome(allocation=allocation, example=f"e{i}", score=i / 4, held_out=i == 2)
    for allocation in (ALLOCATION, ALLOCATION.replaced("find", "large", 1))
    for i in range(3)
]


@pytest.mark.parametrize("name", ["t.csv", "t.csv.gz", "t.parquet"])
async def test_what_is_written_is_read_again(tmp_path: Path, name: str) -> None:
    if name.endswith("parquet"):
        pytest.importorskip("pyarrow")
    write_table(tmp_path / name, PIPELINE, OUTCOMES)
    environment = RecordedEnvironment(PIPELINE, tmp_path / name)
    assert environment.examples == ("e0", "e1") and environment.held_out == ("e2",)
    assert [result.score for result in (await environment.evaluate(ALLOCATION)).results] == [0, 0.25]
    assert len(environment.allocations) == 2


def test_a_broken_parquet_file_is_one_sentence(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    (tmp_path / "t.parquet").write_text("no")
    with pytest.raises(ConfigError, match="t.parquet' is not a Parquet file"):
        RecordedEnvironment(PIPELINE, tmp_path / "t.parquet")


def test_parquet_without_its_package_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    path, message = tmp_path / "t.parquet", r"Parquet files need pyarrow: .*pip install .*\[report\]'"
    with pytest.raises(ConfigError, match=message):
        RecordedEnvironment(PIPELINE, path)
    with pytest.raises(ConfigError, match=message):
        write_table(path, PIPELINE, OUTCOMES)


@pytest.mark.parametrize(
    ("name", "message"), [("t.txt", "its name must end in .csv, .csv.gz, .parquet"), ("no/t.csv", "there is no folder")]
)
def test_a_table_that_cannot_be_written_is_refused(tmp_path: Path, name: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        write_table(tmp_path / name, PIPELINE, OUTCOMES)
