"""The pool's calls beside the event loop: grouped in transactions, and nothing that was paid for lost."""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path

import pytest
from sqlalchemy import event, text

from agenttts.db import Store
from agenttts.errors import StoreError
from agenttts.execution.pool import SamplePool
from agenttts.llm.samples import Sample, Spend, StoredPrompt
from agenttts.pipeline import Model, Sampling
from agenttts.testing import ScriptedClient

MODEL = Model("m", 1e9)


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
    def add(key: str, study: int | None) -> asyncio.Future[None]:
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
