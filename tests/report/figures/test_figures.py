"""What the figures of a report mean: intervals over seeds, seconds on the clock, numbers in words."""

from __future__ import annotations

import io
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from agenttts._util.numbers import compact, duration
from agenttts.db import Store
from agenttts.environments import LiveEnvironment
from agenttts.llm.samples import Spend
from agenttts.report import compare_runs, comparison_table
from agenttts.report.findings.comparison import mean_over_seeds
from agenttts.report.findings.spending import wall_seconds
from agenttts.searching import search
from agenttts.searching.methods import searcher
from agenttts.searching.progress import Limits, SearchResult
from agenttts.space import SearchSpace
from agenttts.space.allocation import Allocation
from agenttts.study.evaluation import Evaluation, ExampleResult
from agenttts.study.trial import Trial

START = datetime(2026, 1, 1, tzinfo=UTC)


async def run(
    environment: LiveEnvironment, space: SearchSpace, *, method: str = "random", seed: int = 0
) -> SearchResult:
    return await search(
        environment, searcher(method, seed=seed, llm="none"), space, Store(), study_name="s", seed=seed,
        limits=Limits(trials=5),
    )  # fmt: skip


def table(*results: SearchResult) -> str:
    console = Console(file=io.StringIO(), width=120)
    console.print(comparison_table([compare_runs("method", results)]))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_the_interval_over_seeds_is_students_t() -> None:
    mean = mean_over_seeds([0.4, 0.5, 0.6], least=0, most=1)
    assert mean.value == pytest.approx(0.5)
    assert mean.interval == pytest.approx((0.5 - 4.303 * 0.1 / 3**0.5, 0.5 + 4.303 * 0.1 / 3**0.5))


@given(st.lists(st.floats(0, 1), min_size=1, max_size=40))
def test_an_interval_of_scores_stays_among_scores(scores: list[float]) -> None:
    mean = mean_over_seeds(scores, least=0, most=1)
    assert (mean.interval is None) == (len(set(scores)) == 1)
    low, high = mean.interval or (0, 1)
    assert 0 <= low <= high <= 1 and low - 1e-9 <= mean.value <= high + 1e-9


async def test_runs_that_agree_get_no_interval(toy_environment: LiveEnvironment, toy_space: SearchSpace) -> None:
    once = await run(toy_environment, toy_space)
    identical = compare_runs("method", [once, once, once])
    assert identical.score.interval is None and identical.agreement == "3 identical runs"
    assert f"{identical.score.value:.3f} (3 identical runs)" in table(once, once, once)
    assert "Runs that agree are as good as one" in table(once, once, once)
    other = replace(once, archive=replace(once.archive, trials=once.archive.trials[:3]))
    assert compare_runs("method", [once, other]).agreement == "equal in 2 runs"
    assert "Not equally many trials: " in table(once, other) and "Not equally many" not in table(once, once)
    assert compare_runs("method", [once]).agreement == ""


async def test_runs_that_differ_get_their_interval(toy_environment: LiveEnvironment, toy_space: SearchSpace) -> None:
    once = await run(toy_environment, toy_space)
    assert once.validation is not None
    worse = replace(once, validation=replace(once.validation, results=once.validation.results[:-1] + failed()))
    compared = compare_runs("method", [once, worse])
    assert compared.agreement == "" and compared.score.interval is not None
    assert f"{compared.score.value:.3f} (0.000 to 1.000)" in table(once, worse)
    assert "Student's t" in table(once, worse)


async def test_a_score_that_was_not_checked_is_said_to_be_so(
    toy_environment: LiveEnvironment, toy_space: SearchSpace
) -> None:
    checked = await run(toy_environment, toy_space)
    unchecked = replace(checked, validation=None)
    said = f"so scored on those searched, which flatters: {checked.study.name}. Run again"
    assert said in table(checked, unchecked)
    assert "Not checked" not in table(checked, checked) + table(unchecked, unchecked)


def failed() -> tuple[ExampleResult, ...]:
    return (ExampleResult(example="e14", score=0.0),)


def trial(end: float, seconds: float) -> Trial:
    return Trial(
        number=1,
        allocation=Allocation({"find": ("small", 1)}),
        cost=1.0,
        evaluation=Evaluation(results=failed(), spend=Spend(seconds=seconds)),
        searcher="random",
        rationale="",
        round=0,
        created=START + timedelta(seconds=end),
    )


def test_parallel_trials_are_not_counted_twice() -> None:
    # 0 to 10 beside 5 to 12 beside 6 to 8, then 20 to 25.
    trials = [trial(10, 10), trial(12, 7), trial(8, 2), trial(25, 5)]
    assert wall_seconds(trials) == pytest.approx(17)
    assert wall_seconds([]) == 0


def test_numbers_are_short_and_right() -> None:
    assert [compact(n) for n in (0, 999, 1234, 331_461, 1_234_567)] == ["0", "999", "1.23k", "331k", "1.23M"]
    assert [duration(s) for s in (0.4, 99, 574, 8000)] == ["0 s", "99 s", "10 min", "2 h 13 min"]
