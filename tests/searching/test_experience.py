"""A search that begins with what earlier studies taught."""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from agenttts.baselines import RandomSearcher
from agenttts.db import Store
from agenttts.environments.synthetic import FAMILIES, SyntheticEnvironment
from agenttts.errors import ConfigError
from agenttts.pipeline import Model, Pipeline
from agenttts.posterior.insights import posterior
from agenttts.proposals.initial import PORTFOLIO
from agenttts.protocols import Searcher
from agenttts.searching import search
from agenttts.searching.methods import searcher
from agenttts.searching.plan import SearchPlan
from agenttts.searching.progress import Limits, SearchResult
from agenttts.space import SearchSpace
from agenttts.space.allocation import Allocation
from agenttts.space.cost import FlopsCost, cost_model
from agenttts.study.trial import EXPERIENCE, Archive, Proposal, Trial
from tests.searching.test_loop import with_models


@dataclass(frozen=True)
class Lab:
    """Searches of synthetic tasks in one store."""

    store: Store

    async def search(
        self, study: str, seed: int, trials: int, *experience: str, method: str = "random", family: str = "table"
    ) -> SearchResult:
        return await self.run(searcher(method, llm="none", seed=seed), study, seed, trials, *experience, family=family)

    async def run(
        self, chosen: Searcher, study: str, seed: int, trials: int, *experience: str, family: str = "table"
    ) -> SearchResult:
        environment = SyntheticEnvironment(FAMILIES[family], seed)
        budget = environment.default_budget
        space = SearchSpace(environment.pipeline, cost_model(budget.cost_model), budget.amount)
        plan = SearchPlan(environment, chosen, space, self.store, study_name=study, seed=seed,
                          limits=Limits(trials=trials), experience=experience)  # fmt: skip
        return await search(plan)


class Reader(RandomSearcher):
    """A method that reads the trials of other studies itself, and notes which it was shown."""

    name = "reader"
    learns = True

    def __init__(self) -> None:
        super().__init__()
        self.shown: list[tuple[Trial, ...]] = []

    async def propose(self, archive: Archive, space: SearchSpace, count: int) -> list[Proposal]:
        self.shown.append(archive.similar)
        return await super().propose(archive, space, count)


@pytest.fixture
async def lab() -> Lab:
    found = Lab(Store())
    await found.search("old", 1, 12)
    await found.search("older", 2, 12, family="loose")
    return found


@pytest.mark.parametrize("method", ["random", "grid", "tpe", "agent"])
async def test_every_method_begins_with_the_trials_that_experience_chooses(lab: Lab, method: str) -> None:
    result = await lab.search("new", 0, PORTFOLIO + 1, "old", "older", method=method)
    chosen = [trial.searcher for trial in result.archive.trials]
    assert chosen == [EXPERIENCE] * PORTFOLIO + [method]
    first = result.archive.trials[0]
    assert first.rationale.startswith("first trial from experience (old, older): 0.")
    assert len(result.archive.tried) == PORTFOLIO + 1
    assert result.study.spec.experience is not None and result.study.spec.experience.studies == ("old", "older")


async def test_a_search_in_pieces_believes_what_it_believed_at_the_start(lab: Lab) -> None:
    whole = await lab.search("whole", 0, 9, "old", method="agent")
    await lab.search("pieces", 0, 3, "old", method="agent")
    await lab.search("old", 1, 25)
    pieces = await lab.search("pieces", 0, 9, "old", method="agent")
    assert [t.allocation for t in pieces.archive.trials] == [t.allocation for t in whole.archive.trials]
    assert pieces.archive.experience is not None and whole.archive.experience is not None
    assert pieces.archive.experience.lessons == whole.archive.experience.lessons
    later = await lab.search("later", 0, 1, "old", method="agent")
    assert later.archive.experience is not None
    assert later.archive.experience.lessons != whole.archive.experience.lessons


async def test_a_method_that_reads_trials_is_shown_those_of_the_named_studies_and_never_its_own(lab: Lab) -> None:
    old = lab.store.archive(lab.store.study("old")).trials
    older = lab.store.archive(lab.store.study("older")).trials
    for names, wanted in {("all",): (*old, *older), ("older",): older}.items():
        for trials in (3, 5):  # resumed, its own study has trials, too
            reader = Reader()
            await lab.run(reader, f"of {names[0]}", 0, trials, *names)
            assert reader.shown and set(map(len, reader.shown)) == {len(wanted)}
            assert [trial.allocation for trial in reader.shown[-1]] == [trial.allocation for trial in wanted]
    with pytest.raises(ConfigError, match="the method 'reader' learns from a study of a similar task: name one"):
        await lab.run(Reader(), "of nothing", 0, 1)


async def test_the_named_studies_are_part_of_the_identity(lab: Lab) -> None:
    await lab.search("warm", 0, 1, "old")
    await lab.search("cold", 0, 1)
    with pytest.raises(ConfigError, match="the experience is none, was old"):
        await lab.search("warm", 0, 1)
    with pytest.raises(ConfigError, match="the experience is old, was none"):
        await lab.search("cold", 0, 1, "old")
    with pytest.raises(ConfigError, match="the experience is old, older, was old"):
        await lab.search("warm", 0, 1, "older", "old")


async def test_all_is_every_study_with_enough_trials_and_stays_what_it_was(
    lab: Lab, caplog: pytest.LogCaptureFixture
) -> None:
    await lab.search("few", 3, 2)
    with caplog.at_level(logging.WARNING):
        begun = await lab.search("new", 0, 2, "all")
    assert "1 studies were left out of the experience, as they have fewer than 8 trials: few" in caplog.text
    await lab.search("newer", 4, 10)
    resumed = await lab.search("new", 0, 3, "all")
    for each in (begun, resumed):
        assert each.study.spec.experience is not None and each.study.spec.experience.studies == ("old", "older")


async def test_what_cannot_be_experience_is_one_sentence(lab: Lab) -> None:
    await lab.search("few", 3, 2)
    for names, words in {
        ("nothing",): "there is no study 'nothing'",
        ("few",): "study 'few' has 2 trials, too few to be experience: name one of at least 8",
        ("new",): "study 'new' cannot be its own experience",
        ("all", "old"): "give 'all' alone, or the names",
    }.items():
        with pytest.raises(ConfigError, match=words):
            await lab.search("new", 0, 1, *names)
    assert "new" not in {study.name for study in lab.store.studies()}
    alone = Lab(Store())
    with pytest.raises(ConfigError, match="no other study of .* has the 8 trials that experience takes"):
        await alone.search("new", 0, 1, "all")


async def test_the_trace_says_what_became_of_experience(lab: Lab, tmp_path: Path) -> None:
    result = await lab.search("new", 0, PORTFOLIO + 2, "old", method="agent")
    said = [step.text for step in lab.store.steps(result.study) if step.node == "reflect"]
    odds = r"Experience \(scores depend on sizes and samples as in old\): the trials .*, [\d.e+]+ to 1"
    assert all(re.search(odds, each) for each in said)
    recalled = [step.text for step in lab.store.steps(result.study) if step.node == "recall"]
    assert "0 initial trials left" in recalled[0], "the trials of experience stand for the design while it is believed"


async def test_a_warm_study_goes_on_when_a_model_joins_that_no_source_has_and_when_one_has_left(
    toy_pipeline: Pipeline, store: Store
) -> None:
    small, large = toy_pipeline.subtasks[0].models
    assert small.parameters is not None and large.parameters is not None
    medium = Model("medium", (small.parameters * large.parameters) ** 0.5)

    async def go_on(
        study: str, *models: Model, trials: int, experience: Sequence[str] = (), method: str = "agent"
    ) -> SearchResult:
        environment = with_models(toy_pipeline, *models)
        return await search(environment, searcher(method, llm="none"),
                            SearchSpace(environment.pipeline, FlopsCost(), 2000), store, study_name=study,
                            limits=Limits(trials=trials), experience=experience)  # fmt: skip

    await go_on("old", small, large, trials=12, method="random")
    begun = await go_on("new", small, large, trials=8, experience=["old"])
    taught = begun.archive.experience
    assert taught is not None
    joined = await go_on("new", small, medium, large, trials=14, experience=["old"])
    # Not tried yet, it is expected between its siblings, as its size is.
    expected = posterior(joined.study.spec.sizes, begun.archive.trials, taught).predict_allocations(
        [Allocation({"find": (large.name, 1), "answer": (model.name, 1)}) for model in (small, medium, large)]
    )
    low, between, high = expected.mean
    assert low < between < high
    left = await go_on("new", small, medium, trials=16, experience=["old"])
    assert left.archive.set_aside > 0
    used = {choice.model for trial in left.archive.trials for choice in trial.allocation.values()}
    assert used == {"small", "medium"}
    for each in (joined, left):
        assert each.archive.experience is not None and each.archive.experience.lessons == taught.lessons
    with pytest.raises(ConfigError, match="the experience is none, was old"):
        await go_on("new", small, medium, trials=17)
