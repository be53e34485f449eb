"""What is asked of a store beside the event loop: calls grouped in transactions, and nothing that was paid for lost."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import event, text

from agenttts.db import Store
from agenttts.errors import ConfigError, LimitReached, StoreError
from agenttts.execution.pool import SamplePool
from agenttts.llm.samples import Sample, Spend, StoredPrompt
from agenttts.pipeline import Model, Sampling
from agenttts.space.allocation import Allocation
from agenttts.study.evaluation import Evaluation, ExampleResult
from agenttts.study.spec import StudySpec
from agenttts.study.trial import AgentStep, Proposal, Trial
from agenttts.testing import ScriptedClient

MODEL = Model("m", 1e9)
SPEC = StudySpec(
    environment="e", pipeline="p", sizes={"s": {"m": 1.0}}, fingerprint="f", cost_model="flops", budget=1.0,
    pricing="x", method="random", seed=0, examples=2,
)  # fmt: skip
ALLOCATIONS = [Allocation({"s": ("m", samples)}) for samples in range(1, 6)]


def client() -> ScriptedClient:
    return ScriptedClient(lambda model, messages, position: f"{messages[0]['content']} {position}")


async def draw(pool: SamplePool, content: str) -> str:
    messages = [{"role": "user", "content": content}]
    return (await pool.draw(client(), MODEL, messages, Sampling(), 1)).samples[0].text


def claims(store: Store) -> int:
    with store._engine.connect() as connection:
        return int(connection.execute(text("SELECT count(*) FROM claims")).scalar_one())


async def test_a_locked_store_holds_up_no_loop_and_what_waits_is_a_few_transactions(store: Store) -> None:
    pool, commits = SamplePool(store.samples), 0

    def count(connection: object) -> None:
        nonlocal commits
        commits += 1

    event.listen(store._engine, "commit", count)
    other = sqlite3.connect(store.location)
    other.execute("BEGIN IMMEDIATE")
    draws = [asyncio.create_task(draw(pool, str(number))) for number in range(60)]
    await asyncio.sleep(0.1)
    assert not any(each.done() for each in draws)
    other.rollback()  # the loop itself gives the lock back: one that was held up never would
    assert [await each for each in draws] == [f"{number} 0" for number in range(60)]
    other.close()
    store.samples.close()
    assert commits < 40 and store.samples.count() == 60 and claims(store) == 0


async def test_what_was_answered_is_kept_though_who_asked_is_gone(any_store: Store) -> None:
    pool = SamplePool(any_store.samples)
    answered = asyncio.Event()

    def reply(model: Model, messages: object, position: int) -> str:
        answered.set()
        return "paid for"

    asked = ScriptedClient(reply)
    drawing = asyncio.create_task(pool.draw(asked, MODEL, [{"role": "user", "content": "a"}], Sampling(), 1))
    await answered.wait()
    drawing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await drawing
    any_store.samples.close()
    assert any_store.samples.count() == 1 and claims(any_store) == 0
    assert pool.meter.spent.completion_tokens == 2


async def test_who_is_cancelled_while_waiting_for_a_claim_leaves_none(any_store: Store) -> None:
    pool = SamplePool(any_store.samples)
    for steps in range(6):
        drawing = asyncio.create_task(draw(pool, f"cancelled after {steps}"))
        for _ in range(steps):
            await asyncio.sleep(0.005)
        drawing.cancel()
        await asyncio.gather(drawing, return_exceptions=True)
    any_store.samples.close()
    assert claims(any_store) == 0


async def test_a_call_that_the_database_refuses_takes_no_other_with_it(store: Store) -> None:
    def add(key: str, study: int | None) -> asyncio.Future[Spend | None]:
        prompt = StoredPrompt(key, "m", "search", [], {}, 1)
        adding = store.samples.beside.add(prompt, 0, [Sample("t", 1)], spend=Spend(requests=1), study_id=study)
        return asyncio.ensure_future(adding)

    with store._engine.begin() as connection:
        connection.execute(text("CREATE TRIGGER no BEFORE INSERT ON purchases WHEN NEW.study_id = 7 "
                                "BEGIN SELECT RAISE(ABORT, 'no such study'); END"))  # fmt: skip
    found = await asyncio.gather(*(add(f"k{n}", 7 if n == 3 else None) for n in range(8)), return_exceptions=True)
    assert [isinstance(each, StoreError) for each in found] == [n == 3 for n in range(8)]
    assert store.samples.count() == 7


async def test_a_store_that_was_closed_opens_again_where_it_is_used(tmp_path: Path) -> None:
    store = Store(str(tmp_path / "again.db"))
    for content in "ab":
        assert await draw(SamplePool(store.samples), content) == f"{content} 0"
        store.close()


@contextmanager
def held_up(store: Store) -> Iterator[None]:
    """Meanwhile nobody can write to the store's studies."""
    with store._engine.execution_options(agenttts_writes=True).connect() as other:
        other.execute(text("UPDATE studies SET name = name"))
        yield


def recording(store: Store, allocation: Allocation, *, at_most: int | None = None) -> asyncio.Task[Trial]:
    """A trial that is being recorded."""
    evaluation = Evaluation(results=(ExampleResult(example="a", score=1.0),))
    told = Proposal(allocation)
    adding = store.beside(
        store.add_trial, store.study(), told, evaluation, cost=1.0, searcher="x", round=0, at_most=at_most
    )
    return asyncio.create_task(adding)


async def test_trials_are_recorded_in_their_order_while_the_loop_goes_on(any_store: Store) -> None:
    study = any_store.start("study", SPEC)
    ended: list[Trial] = []
    with held_up(any_store):
        trials = [recording(any_store, each) for each in ALLOCATIONS]
        for each in trials:
            each.add_done_callback(lambda done: ended.append(done.result()))
        await asyncio.sleep(0.1)
        assert not any(each.done() for each in trials)
    # The loop itself gave the lock back: one that was held up never would.
    told = await asyncio.gather(*trials)
    assert [trial.number for trial in told] == [1, 2, 3, 4, 5] and ended == told
    assert [trial.allocation for trial in any_store.archive(study).trials] == ALLOCATIONS


async def test_a_trial_is_recorded_once_though_who_told_it_is_gone(any_store: Store) -> None:
    study = any_store.start("study", SPEC)
    with held_up(any_store):
        trials = [recording(any_store, each) for each in (ALLOCATIONS[0], ALLOCATIONS[0], ALLOCATIONS[1])]
        await asyncio.sleep(0.05)
        for each in trials:
            each.cancel()
        assert all(
            isinstance(each, asyncio.CancelledError) for each in await asyncio.gather(*trials, return_exceptions=True)
        )
    any_store.close()
    assert [trial.allocation for trial in any_store.archive(study).trials] == ALLOCATIONS[:2]


async def test_what_is_recorded_comes_after_the_samples_that_were_kept_before_it(any_store: Store) -> None:
    any_store.start("study", SPEC)
    beside, prompt = any_store.samples.beside, StoredPrompt("k", "m", "search", [], {}, 1)
    with held_up(any_store):
        first = recording(any_store, ALLOCATIONS[0])
        add = beside.add(prompt, 0, [Sample("t", 1)], spend=Spend(requests=1), study_id=None)
        adding = asyncio.create_task(add)
        second, reading = recording(any_store, ALLOCATIONS[1]), asyncio.create_task(beside.read("k", 1))
        await asyncio.sleep(0.05)
    order = [await each for each in asyncio.as_completed([first, adding, second, reading])]
    assert order == [first.result(), None, second.result(), reading.result()]
    assert len(reading.result().samples) == 1


async def test_what_cannot_be_recorded_is_told_to_who_waits_for_it(any_store: Store) -> None:
    any_store.start("study", SPEC)
    trials = [recording(any_store, each, at_most=2) for each in ALLOCATIONS[:3]]
    found = await asyncio.gather(*trials, return_exceptions=True)
    assert [isinstance(each, LimitReached) for each in found] == [False, False, True]


async def test_what_is_told_in_any_thread_is_recorded_in_its_order_while_nobody_waits(store: Store) -> None:
    study = store.start("study", SPEC)
    steps = [AgentStep(round=number, node="reflect", planner="rules") for number in range(3)]
    with held_up(store):
        told = [store.tell(store.add_step, study, steps[0])]
        told.append(await asyncio.to_thread(store.tell, store.add_step, study, steps[1]))
        told.append(store.tell(store.add_step, study, steps[2]))
        read = asyncio.create_task(store.beside(store.steps, study))
        await asyncio.sleep(0.05)
        assert not any(each.done() for each in told)
    assert await read == steps and [each.result() for each in told] == [None, None, None]


async def test_what_cannot_be_done_is_found_by_who_looks_later(any_store: Store) -> None:
    told = any_store.tell(any_store.study, "unknown")
    with pytest.raises(ConfigError, match="no study"):
        await asyncio.wrap_future(told)
