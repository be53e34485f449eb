"""Frames and figures for notebooks: the numbers of the store, tidy."""

from __future__ import annotations

import sys
from dataclasses import replace
from datetime import timedelta
from itertools import pairwise

import pytest

from agenttts.db import Store
from agenttts.environments import LiveEnvironment
from agenttts.errors import ConfigError
from agenttts.report import (
    Findings,
    budget_figure,
    examples_frame,
    frontier_figure,
    preference_figure,
    progress_figure,
    read_findings,
    samples_frame,
    scaling_figure,
    stages_frame,
    steps_frame,
    trials_frame,
)
from agenttts.report.figures.style import COLOURS
from agenttts.report.findings.best_so_far import Against, best_so_far
from agenttts.report.findings.scaling import scaling_curves
from agenttts.report.page.pictures import progress_picture
from agenttts.report.page.story import timeline
from agenttts.searching import search
from agenttts.searching.methods import searcher
from agenttts.searching.progress import Limits
from agenttts.searching.racing import Racing
from agenttts.space import SearchSpace
from tests.report.page.test_page import searched


@pytest.fixture
async def found(toy_environment: LiveEnvironment, toy_space: SearchSpace, store: Store) -> Findings:
    return await searched(toy_environment, toy_space, store, "toy")


def test_frames_agree_with_the_trials(found: Findings) -> None:
    trials, examples, stages = trials_frame(found), examples_frame(found), stages_frame(found)
    assert trials["trial"].tolist() == [trial.number for trial in found.trials]
    means = examples[~examples["held_out"]].groupby("trial")["score"].mean()
    assert means.tolist() == pytest.approx(trials["score"].tolist())
    costs = stages.groupby("trial")[["prompt_cost", "generation_cost", "aggregation_cost"]].sum().sum(axis=1)
    assert costs.tolist() == pytest.approx(trials["cost"].tolist())
    assert (stages["samples_drawn"] == 10 * stages["samples"]).all()
    assert examples["held_out"].sum() == 5 and trials["held_out"].notna().sum() == 1


def test_steps_tell_which_trials_came_of_them(found: Findings) -> None:
    steps = steps_frame(found)
    assert set(steps["node"]) >= {"recall", "initial", "reflect", "propose", "check"}
    assert sorted({number for numbers in steps["trials"] for number in numbers}) == [t.number for t in found.trials]


def test_samples_are_those_of_the_pool(found: Findings, store: Store) -> None:
    samples = samples_frame(Findings.read(store, store.study()))
    assert len(samples) == store.samples.count() > 0
    assert set(samples["model"]) == {"small", "large"} and set(samples["namespace"]) == {"search", "validation"}
    assert (
        samples.groupby(["model", "namespace", "prompt"])["position"]
        .apply(list)
        .map(lambda p: p == list(range(len(p))))
        .all()
    )


def test_progress_ends_at_the_recommendation(found: Findings) -> None:
    spent = sum(trial.evaluation.spend.tokens + trial.evaluation.spend.reused_tokens for trial in found.trials)
    ends: dict[Against, int] = {
        "trials": len(found.trials),
        "example evaluations": sum(len(trial.evaluation.results) for trial in found.trials),
        "tokens from scratch": spent,
    }
    for against, end in ends.items():
        (line,) = best_so_far([found], against)
        taken = [point.taken for point in line.reached]
        assert taken == sorted(taken) and taken[-1] == end and not line.hindsight
        assert line.reached[-1].score == pytest.approx(found.expected[found.best.number].score)


async def test_no_moment_knows_what_came_after_it(
    toy_environment: LiveEnvironment, toy_space: SearchSpace, store: Store
) -> None:
    for trials in (8, 14):
        limits = Limits(trials=trials)
        random, racing = searcher("random"), Racing(look=5)
        await search(toy_environment, random, toy_space, store, study_name="s", limits=limits, racing=racing)
        (found,) = read_findings(store)
        if trials == 8:
            before = found
    looks = [len(trial.looks) for trial in found.trials]
    assert len(found.history) == sum(looks) > len(looks)  # some were shown more examples later
    assert found.history[: len(before.history)] == before.history
    last = found.history[-1]
    assert (last.best.number, last.trials) == (found.best.number, len(found.trials))
    told = list(found.new_bests.items())
    assert told[: len(before.new_bests)] == list(before.new_bests.items())
    assert told[-1][1].number == found.best.number
    assert all(one.number != two.number for (_, one), (_, two) in pairwise(told))


def test_of_a_long_study_an_even_selection_is_judged_to_its_end(found: Findings) -> None:
    first, *_ = found.trials
    (look, *_) = first.looks
    trials = tuple(
        replace(first, number=number, round=number - 1, looks=(replace(look, at=look.at + timedelta(seconds=number)),))
        for number in range(1, 72)
    )
    long = replace(found, archive=replace(found.archive, trials=trials))
    counts = [moment.trials for moment in long.history]
    assert counts[-1] == 71 and len(counts) <= 30 and {b - a for a, b in pairwise(counts)} == {3}
    assert long.new_bests and long.new_bests.keys() <= {count - 1 for count in counts}


def test_where_the_order_of_looks_is_unknown_progress_is_in_hindsight(found: Findings) -> None:
    trials = tuple(replace(trial, looks=()) for trial in found.trials)
    older = replace(found, archive=replace(found.archive, trials=trials))
    (line,) = best_so_far([older], "trials")
    scores = [point.score for point in line.reached]
    assert line.hindsight and scores == sorted(scores) and len(scores) == len(trials)
    assert "the order is unknown" in progress_picture(older).caption
    assert not any(chapter.new_best for chapter in timeline(older)) and any(ch.new_best for ch in timeline(found))
    assert "the order is unknown" not in progress_picture(found).caption


def test_scaling_curves_hold_every_trial_of_their_model_once(found: Findings) -> None:
    for stage in found.best.allocation:
        for curve in scaling_curves(found, stage):
            mine = [t.number for t in found.trials if t.allocation[stage].model == curve.model]
            assert sorted(t.number for t in (*curve.on_curve, *curve.elsewhere)) == mine
            assert len(curve.expected) == len(curve.counts)
            assert found.best in curve.on_curve or curve.model != found.best.allocation[stage].model


def test_every_figure_shows_something(found: Findings) -> None:
    figures = [progress_figure(found), budget_figure(found), frontier_figure(found), preference_figure(found)]
    for figure in (*figures, *(scaling_figure(found, stage) for stage in found.best.allocation)):
        assert any(value is not None for trace in figure.data for value in trace.x)
        assert figure.layout.height < 700
    assert [trace.name for trace in budget_figure(found).data] == ["prompt", "generation"]


def test_colours_show_on_both_backgrounds() -> None:
    def luminance(colour: str) -> float:
        channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
        return sum(weight * c for weight, c in zip((0.2126, 0.7152, 0.0722), linear, strict=True))

    for colour in COLOURS:
        for background in ("#ffffff", "#14171a"):
            low, high = sorted((luminance(colour), luminance(background)))
            assert (high + 0.05) / (low + 0.05) >= 3, (colour, background)


def test_without_plotly_and_pandas_a_sentence_tells_what_to_install(
    found: Findings, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("plotly", "plotly.graph_objects", "pandas"):
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ConfigError, match=r"pip install .*\[report\]"):
        budget_figure(replace(found))
    with pytest.raises(ConfigError, match=r"pip install .*\[report\]"):
        trials_frame(found)
