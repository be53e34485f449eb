"""The loop: it refuses what it must, records everything, and goes on where it stopped."""

from __future__ import annotations

import asyncio
import logging
import random
import threading
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

import pytest
from sqlalchemy import event

from agenttts.db import Store
from agenttts.environments import LiveEnvironment
from agenttts.errors import ConfigError, EndpointError
from agenttts.pipeline import Example, Model, Pipeline
from agenttts.protocols import Searcher
from agenttts.searching import search
from agenttts.searching.methods import searcher
from agenttts.searching.plan import SearchPlan
from agenttts.searching.progress import Limits, Progress, SearchResult
from agenttts.searching.racing import Racing
from agenttts.space import SearchSpace
from agenttts.space.allocation import Allocation
from agenttts.space.cost import FlopsCost
from agenttts.study.trial import Archive, Proposal
from agenttts.testing import ScriptedClient
from tests.conftest import toy_reply


@dataclass
class Fixed(Searcher):
    """Proposes what it is told, whatever it is."""

    allocations: list[Allocation]
    name: str = "fixed"

    async def propose(self, archive: Archive, space: SearchSpace, count: int) -> list[Proposal]:
        return [Proposal(allocation) for allocation in self.allocations]


async def run(
    environment: LiveEnvironment,
    space: SearchSpace,
    store: Store,
    *,
    trials: int = 6,
    method: str = "random",
    seed: int = 0,
) -> SearchResult:
    return await search(
        environment,
        searcher(method, llm="none"),
        space,
        store,
        study_name="study",
        limits=Limits(trials=trials),
    )


def allocations(result: SearchResult) -> list[Allocation]:
    return [trial.allocation for trial in result.archive.trials]


async def test_no_event_loop_waits_for_what_becomes_of_trials_nor_for_steps(
    toy_environment: LiveEnvironment, toy_space: SearchSpace, any_store: Store
) -> None:
    in_loop: dict[str, bool] = {}

    def note(connection: object, cursor: object, statement: str, *others: object) -> None:
        verb, *words = statement.split()
        if verb in ("INSERT", "UPDATE", "DELETE"):
            table = words[0] if verb == "UPDATE" else words[1]
            in_loop[table] = in_loop.get(table, False) or threading.current_thread() is threading.main_thread()

    event.listen(any_store._engine, "before_cursor_execute", note)
    tried, racing, limits = searcher("agent", llm="none"), Racing(look=5), Limits(trials=6)
    result = await search(
        toy_environment, tried, toy_space, any_store, study_name="study", limits=limits, parallel=3, racing=racing
    )
    assert [trial.number for trial in result.archive.trials] == [1, 2, 3, 4, 5, 6]
    assert any_store.archive(result.study).trials == result.archive.trials
    written = {"trials", "proposals", "counterfactuals", "validations", "transcripts", "samples", "steps"}
    assert written <= in_loop.keys()
    assert {table for table, waited in in_loop.items() if waited} == {"studies"}


@pytest.mark.parametrize("method", ["random", "grid", "tpe", "agent"])
async def test_a_search_in_pieces_takes_the_same_way_as_in_one(
    method: str, toy_environment: LiveEnvironment, toy_space: SearchSpace, tmp_path: Path
) -> None:
    whole = await run(toy_environment, toy_space, Store(), trials=9, method=method)
    path = str(tmp_path / "pieces.db")
    for trials in (1, 4, 9):
        store = Store(path)
        pieces = await run(toy_environment, toy_space, store, trials=trials, method=method)
        store.close()
    assert allocations(pieces) == allocations(whole)
    assert pieces.best.allocation == whole.best.allocation


async def test_the_archive_in_memory_is_the_one_in_the_store(
    toy_environment: LiveEnvironment, toy_space: SearchSpace, store: Store
) -> None:
    result = await run(toy_environment, toy_space, store, method="agent", trials=8)
    assert store.archive(result.study) == result.archive


async def test_a_repeated_study_is_free(toy_environment: LiveEnvironment, toy_space: SearchSpace, store: Store) -> None:
    first = await run(toy_environment, toy_space, store)
    again = await search(
        toy_environment, searcher("random"), toy_space, store, study_name="again", limits=Limits(trials=6)
    )
    assert allocations(again) == allocations(first)
    assert again.spend.tokens == 0 and again.spend.reused_tokens > 0
    assert again.validation is not None and again.validation.spend.tokens == 0


async def test_infeasible_and_repeated_proposals_are_refused_and_recorded(
    toy_environment: LiveEnvironment, toy_space: SearchSpace, store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    good = toy_space.cheapest
    dear = Allocation({"find": ("large", 6), "answer": ("large", 5)})
    with caplog.at_level(logging.WARNING):
        result = await search(
            toy_environment, Fixed([dear, good, good]), toy_space, store, study_name="s", limits=Limits(trials=3),
            parallel=2,
        )  # fmt: skip
    assert allocations(result) == [good]
    assert result.stopped == "fixed has nothing new to propose"
    reasons = [refusal.reasons[0] for refusal in result.archive.refusals]
    assert reasons[0].startswith("it costs") and reasons[1] == "it has been proposed before"
    assert "rejected" in caplog.text


async def test_the_winner_is_checked_on_held_out_examples_with_fresh_samples(
    toy_environment: LiveEnvironment, toy_space: SearchSpace, store: Store
) -> None:
    result = await run(toy_environment, toy_space, store)
    assert result.validation is not None
    assert [each.example for each in result.validation.results] == [f"e{i}" for i in range(10, 15)]
    assert result.validation.spend.tokens > 0
    assert store.validation(result.study, result.best.allocation) == result.validation


async def test_a_token_limit_ends_the_search_and_keeps_what_was_bought(
    toy_environment: LiveEnvironment, toy_space: SearchSpace, store: Store
) -> None:
    limits = Limits(trials=50, max_tokens=200)
    result = await search(
        toy_environment, searcher("random"), toy_space, store, study_name="s", limits=limits, validate=False
    )
    assert "tokens of at most 200 (--max-tokens)" in result.stopped
    assert 200 <= store.spend(result.study).tokens < 400
    assert store.samples.count() > 0
    further = await search(
        toy_environment, searcher("random"), toy_space, store, study_name="s", limits=Limits(trials=8), validate=False
    )
    assert len(further.archive.trials) == 8


async def test_a_small_space_is_searched_to_its_end(
    toy_environment: LiveEnvironment, toy_pipeline: object, store: Store
) -> None:
    space = SearchSpace(toy_environment.pipeline, FlopsCost(), 80)
    result = await run(toy_environment, space, store, trials=10_000)
    assert len(result.archive.trials) == space.size
    assert result.stopped == "random has nothing new to propose"


@pytest.mark.parametrize(
    "limits", [{"trials": 0}, {"trials": -3}, {"max_tokens": 0}, {"max_usd": 0.0}, {"max_usd": float("nan")}]
)
def test_limits_that_allow_nothing_are_refused(limits: dict[str, int]) -> None:
    with pytest.raises(ConfigError, match="must be"):
        Limits(**limits)


async def test_a_limit_in_usd_needs_prices(
    toy_environment: LiveEnvironment, toy_space: SearchSpace, store: Store
) -> None:
    with pytest.raises(ConfigError, match="prices of model 'small'"):
        await search(toy_environment, searcher("random"), toy_space, store, study_name="s", limits=Limits(max_usd=1.0))


async def test_a_changed_pipeline_is_not_resumed(
    toy_environment: LiveEnvironment, toy_space: SearchSpace, store: Store
) -> None:
    await run(toy_environment, toy_space, store, trials=1)
    pipeline = toy_environment.pipeline
    changed = replace(pipeline, subtasks=(replace(pipeline.subtasks[0], system="Be brief."), pipeline.subtasks[1]))
    rows = [{"id": f"e{i}", "question": f"{i}?", "gold": "yes"} for i in range(10)]
    other = LiveEnvironment(changed, rows, client=ScriptedClient(toy_reply))
    with pytest.raises(ConfigError, match="study 'study' exists with other settings.*subtask 'find'.* changed"):
        await run(other, toy_space, store)


def with_models(pipeline: Pipeline, *models: Model) -> LiveEnvironment:
    """The toy with other candidates."""
    changed = replace(pipeline, subtasks=tuple(replace(subtask, models=models) for subtask in pipeline.subtasks))
    rows = [{"id": f"e{i}", "question": f"{i}?", "gold": "yes"} for i in range(10)]
    return LiveEnvironment(changed, rows, client=ScriptedClient(toy_reply))


def models_of(allocation: Allocation) -> str:
    return " ".join(choice.model for choice in allocation.values())


@pytest.mark.parametrize("method", ["random", "agent"])
async def test_a_model_may_be_taken_out_of_a_study_and_come_back(
    method: str, toy_pipeline: Pipeline, store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    small, large = toy_pipeline.subtasks[1].models
    tiny = Model("tiny", 1e5)

    async def go_on(*models: Model, trials: int) -> SearchResult:
        environment = with_models(toy_pipeline, *models)
        return await run(environment, SearchSpace(environment.pipeline, FlopsCost(), 2000), store, method=method,
                         trials=trials)  # fmt: skip

    first = await go_on(small, large, trials=8)
    asked = first.spend.tokens
    fewer = await go_on(small, trials=5)
    assert {models_of(trial.allocation) for trial in fewer.archive.trials} == {"small small"}
    kept = sum(models_of(trial.allocation) == "small small" for trial in first.archive.trials)
    assert fewer.archive.set_aside == 8 - kept and len(fewer.archive.trials) == max(kept, 5)
    assert f"{8 - kept} trials of models that were taken out are kept" in fewer.stopped
    assert "study study goes on with other models: large was taken out of subtask 'find'" in caplog.text
    whole = await go_on(tiny, small, large, trials=16)
    assert "tiny was added to subtask 'find'; large was added" in caplog.text
    assert whole.archive.set_aside == 0 and len(whole.archive.trials) == 16
    assert {trial.number for trial in first.archive.trials} <= {trial.number for trial in whole.archive.trials}
    assert method == "agent" or any("tiny" in models_of(trial.allocation) for trial in whole.archive.trials)
    assert asked <= whole.spend.tokens == store.spend(whole.study).tokens


async def test_other_models_and_something_else_are_another_study(
    toy_pipeline: Pipeline, toy_environment: LiveEnvironment, toy_space: SearchSpace, store: Store
) -> None:
    await run(toy_environment, toy_space, store, trials=1)
    small, large = toy_pipeline.subtasks[1].models
    renewed = with_models(toy_pipeline, replace(small, revision="2"), large)
    replaced = with_models(toy_pipeline, Model("tiny", 1e5))
    dearer = with_models(toy_pipeline, replace(small, parameters=2e6), Model("tiny", 1e5))
    for environment in (renewed, replaced, dearer):
        space = SearchSpace(environment.pipeline, FlopsCost(), 320)
        with pytest.raises(ConfigError, match="study 'study' exists with other settings"):
            await run(environment, space, store)


async def test_a_server_that_dies_stops_the_search_and_loses_nothing(
    toy_pipeline: object, toy_environment: LiveEnvironment, toy_space: SearchSpace, store: Store
) -> None:
    alive = True

    def reply(model: object, messages: object, position: int) -> str:
        if not alive:
            raise EndpointError("model did not answer")
        return "yes"

    environment = LiveEnvironment(
        toy_environment.pipeline,
        [{"id": str(i), "question": f"{i}?", "gold": "yes"} for i in range(3)],
        client=ScriptedClient(reply),
    )

    def die(progress: Progress) -> None:
        nonlocal alive
        alive = len(progress.archive.trials) < 3

    with pytest.raises(EndpointError, match="every example failed"):
        await search(
            environment, searcher("random"), toy_space, store, study_name="s", limits=Limits(trials=9), on_progress=die
        )
    assert len(store.archive(store.study("s")).trials) == 3


async def test_progress_tells_how_far_it_is(
    toy_environment: LiveEnvironment, toy_space: SearchSpace, store: Store
) -> None:
    told: list[Progress] = []
    await search(
        toy_environment, searcher("random"), toy_space, store, study_name="s", limits=Limits(trials=3),
        on_progress=told.append,
    )  # fmt: skip
    assert told[0].phase == "starting"
    assert [len(each.archive.trials) for each in told if each.phase == "evaluating"] == [0, 1, 1, 2, 2, 3]
    assert told[-1].phase == "validating" and told[-1].spent.tokens > 0


async def test_the_time_left_includes_the_check_on_held_out_examples(
    toy_environment: LiveEnvironment, toy_space: SearchSpace, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[Progress] = []
    await search(
        toy_environment, searcher("random"), toy_space, store, study_name="s", limits=Limits(trials=3),
        on_progress=told.append,
    )  # fmt: skip
    # A clock on which each trial of 10 examples takes 20 s, read 4 s after the report.
    monkeypatch.setattr("agenttts.searching.progress.time.monotonic", lambda: 104.0)
    left = [
        replace(each, started=100.0 - 20 * len(each.archive.trials), told=100.0).seconds_left
        for each in told
        if each.phase in ("starting", "evaluating", "validating")
    ]
    # 5 held-out examples are 10 s.
    assert left == [None, None, 46.0, 46.0, 26.0, 26.0, 6.0, 6.0]


async def test_a_store_given_by_its_path_is_opened_last(
    toy_environment: LiveEnvironment, toy_space: SearchSpace, tmp_path: Path
) -> None:
    class Unreachable(LiveEnvironment):
        async def __aenter__(self) -> Self:
            raise EndpointError("cannot reach it")

    rows = [{"id": "e0", "question": "0?", "gold": "yes"}]
    unreachable = Unreachable(toy_environment.pipeline, rows, client=ScriptedClient(toy_reply))
    path = tmp_path / "new.db"
    with pytest.raises(EndpointError):
        await search(unreachable, searcher("random"), toy_space, str(path), study_name="s", limits=Limits(trials=2))
    assert not path.exists()
    result = await search(
        toy_environment, searcher("random"), toy_space, str(path), study_name="s", limits=Limits(trials=2)
    )
    store = Store(str(path))
    assert store.archive(store.study("s")) == result.archive
    store.close()


def test_a_search_can_be_run_from_plain_code(toy_environment: LiveEnvironment, toy_space: SearchSpace) -> None:
    result = asyncio.run(run(toy_environment, toy_space, Store(), trials=2))
    assert len(result.archive.trials) == 2


async def test_what_the_identity_does_not_cover_is_told_at_the_start(
    toy_pipeline: Pipeline, toy_space: SearchSpace, store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    luck = random.Random(1)

    def lucky(output: object, example: Example) -> float:
        return float(luck.random() < 2)

    environment = LiveEnvironment(
        replace(toy_pipeline, metric=lucky), [{"id": "1", "question": "q"}], client=ScriptedClient(lambda *_: "a")
    )
    plan = SearchPlan(environment, searcher("random"), toy_space, store, study_name="s", limits=Limits(trials=1))
    await search(plan)
    assert "does not cover closure variable 'luck' of" in caplog.text and "(random.Random)" in caplog.text
