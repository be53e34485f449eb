"""Every wait is bounded and told.

| tried | must be |
|---|---|
| a server that sends a byte every 0.1 s, for ever | the time-out holds; missing, or EndpointError |
| a server that takes connections and says nothing, 40 examples | told once; given up once, in one sentence |
| the same while it was asked for several choices (the probe) | nobody waits for more than a time-out |
| a probe that is answered 503 | the others are asked meanwhile |
| one silent example beside others that are answered | that one is missing |
| an answer of 9 MiB, an error of 1 MB | cut off (see `test_answers.py`) |
| a planner that drips | EndpointError |
| a silent endpoint under `search`, `compare`, `ablate` with `--give-up-after` | exit code 3, one sentence |
| an interrupt with 700 requests in flight | an end within 2 s, no claim left |
| a SQLite file locked by another process for 4 s (30 s: slow) | the write waits, says so, and succeeds |
| PostgreSQL ends every connection, idle and in a transaction | repeated, said, nothing twice |
"""

from __future__ import annotations

import asyncio
import logging
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine, text

import agenttts as at
from agenttts.db import Store
from agenttts.db._engine import write
from agenttts.errors import EndpointError
from agenttts.llm.asking import Patience
from agenttts.llm.chat import ChatModel
from agenttts.llm.openai import OpenAIClient
from agenttts.pipeline import Sampling
from agenttts.searching import Limits
from agenttts.space import Allocation
from tests.faults.commands import run
from tests.faults.server import ONE, Answer, RawServer, environment, http, on_question, pipeline, prompt, right, space
from tests.postgresql import PostgreSQL

DRIP = b"DRIP"
_HANGS_S = 60
"""What takes longer, though it waits for seconds at most, hangs."""


async def test_a_byte_now_and_then_does_not_keep_a_request_alive() -> None:
    with RawServer(on_question("word5", DRIP)) as server:
        async with environment(server.url, client=OpenAIClient(timeout_s=0.6, max_retries=1)) as searched:
            async with asyncio.timeout(_HANGS_S):
                evaluation = await searched.evaluate(ONE)
    assert set(evaluation.missing) == {"e5"}
    assert "did not answer within 0.6 s" in evaluation.missing["e5"]


async def test_a_planner_that_drips_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agenttts.llm.chat._PATIENCE", Patience(timeout_s=0.4, max_retries=1))
    with RawServer(lambda asked, number: DRIP) as server:
        with pytest.raises(EndpointError, match="the planner's model 'small' at .* did not answer within 0.4 s"):
            await ChatModel("small", base_url=server.url).ask("q", system="s")


@pytest.mark.parametrize("samples", [1, 4])
async def test_a_silent_endpoint_is_told_and_given_up_once(
    samples: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("agenttts.llm.pulse.TOLD_AFTER_S", 0.5)
    waited: list[str] = []
    with RawServer(lambda asked, number: None) as server:
        client = OpenAIClient(timeout_s=60, max_in_flight=8, give_up_after_s=2)
        searched = environment(server.url, examples=40, client=client)
        allocation = Allocation({"answer": ("small", samples)})

        async def look() -> None:
            while True:
                await asyncio.sleep(0.1)
                waited.append(searched.waiting)

        async with searched:
            looking = asyncio.create_task(look())
            with pytest.raises(EndpointError, match="'small' at .* has answered nothing for 2 s and was given up") as e:
                async with asyncio.timeout(_HANGS_S):
                    await searched.evaluate(allocation)
            looking.cancel()
    assert e.value.final and len(server.requests) <= 8
    told = [record.message for record in caplog.records if "no answer for" in record.message]
    assert len(told) == 1 and told[0].startswith("waiting for model 'small' at http://127.0.0.1")
    assert "" in waited and any("no answer for" in each for each in waited)


async def test_a_search_on_a_silent_endpoint_ends_in_one_sentence(tmp_path: Path) -> None:
    with RawServer(lambda asked, number: right(asked) if number < 20 else None) as server:
        searched = environment(server.url, client=OpenAIClient(timeout_s=60, give_up_after_s=1))
        with pytest.raises(EndpointError, match="has answered nothing for 1 s and was given up"):
            await at.search(
                searched,
                at.searcher("random", seed=0),
                space(searched),
                str(tmp_path / "runs.db"),
                study_name="one",
                limits=Limits(trials=8),
            )
    store = Store(str(tmp_path / "runs.db"))
    assert store.archive(store.study("one")).trials and store.samples.count() >= 19
    store.close()


_SILENT = """
from tests.faults.server import environment
environment = environment("URL")
"""


@pytest.fixture
def silent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A search of a pipeline whose endpoint is silent."""
    with RawServer(lambda asked, number: None) as server:
        (tmp_path / "silent.py").write_text(_SILENT.replace("URL", server.url))
        monkeypatch.chdir(tmp_path)
        yield "silent.py:environment --budget 1e6 --store s.db"


@pytest.mark.parametrize(
    "command",
    ["search --method random", "compare --methods random --seeds 1", "ablate --seeds 1 --llm none", "record -o t.csv"],
)
def test_the_command_line_gives_an_endpoint_up(command: str, silent: str, monkeypatch: pytest.MonkeyPatch) -> None:
    name, *options = command.split()
    ended = run(f"{name} {silent} {' '.join(options)} --give-up-after 0.01", monkeypatch)
    assert ended.code == 3, ended.err
    assert ended.err.splitlines()[-1].startswith("error: ")
    assert "has answered nothing for 0.6 s and was given up" in ended.err.splitlines()[-1]


@pytest.mark.parametrize("minutes", ["0", "-1", "nan", "inf", "-inf"])
def test_what_is_no_time_is_refused(minutes: str, silent: str, monkeypatch: pytest.MonkeyPatch) -> None:
    ended = run(f"search {silent} --method random --give-up-after {minutes}", monkeypatch)
    assert ended.code == 2 and ended.err.startswith("error: --give-up-after must be minutes, more than 0, not ")
    assert ended.err.count("\n") == 1 and not Path("s.db").exists()


async def test_who_is_asked_meanwhile_does_not_wait_for_a_probes_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agenttts.llm.asking._FIRST_PAUSE_S", 1.5)

    def answer(asked: dict[str, Any], number: int) -> Answer:
        return http("", status="503 No") if asked["messages"][-1]["content"].endswith("first") else right(asked)

    with RawServer(answer) as server:
        client, model = OpenAIClient(timeout_s=5, max_retries=1), pipeline(server.url).subtasks[0].models[0]
        first = asyncio.create_task(client.complete(model, prompt("first"), Sampling(), start=0, samples=4, seed=0))
        await asyncio.sleep(0.05)
        others = [client.complete(model, prompt("x"), Sampling(), start=0, samples=4, seed=0) for _ in range(5)]
        assert all(len(bought.samples) == 4 for bought in await asyncio.gather(*others))
        assert not first.done()
        with pytest.raises(EndpointError, match="503"):
            await first
        await client.close()


async def test_one_silent_example_is_missing() -> None:
    def answer(asked: dict[str, Any], number: int) -> Answer | None:
        return None if asked["messages"][-1]["content"].endswith("word5") else right(asked)

    with RawServer(answer) as server:
        async with environment(server.url, client=OpenAIClient(timeout_s=0.5, max_retries=5)) as searched:
            evaluation = await searched.evaluate(ONE)
        assert len(server.requests) == 11 + 3
    assert set(evaluation.missing) == {"e5"} and evaluation.score == 1


_MANY = """
import asyncio, sys
import agenttts as at
from agenttts.llm.openai import OpenAIClient
from agenttts.searching import Limits
from tests.faults.server import environment, space
searched = environment(sys.argv[1], examples=700, client=OpenAIClient(timeout_s=60, max_in_flight=700))
try:
    asyncio.run(at.search(searched, at.searcher("random", seed=0), space(searched), sys.argv[2], study_name="one",
                          limits=Limits(trials=2, max_tokens=10**9)))
except KeyboardInterrupt:
    sys.exit(130)
"""


def test_an_interrupt_with_700_requests_in_flight_ends_at_once(any_url: str, any_store: Store) -> None:
    with RawServer(lambda asked, number: right(asked) if asked.get("n", 1) > 1 and number == 1 else None) as server:
        with subprocess.Popen([sys.executable, "-c", _MANY, server.url, any_url]) as child:
            deadline = time.monotonic() + 60
            while len(server.requests) < 700 and time.monotonic() < deadline:
                time.sleep(0.05)
            assert len(server.requests) >= 700
            child.send_signal(signal.SIGINT)
            assert child.wait(timeout=20) == 130
    engine = create_engine(any_store._engine.url)
    with engine.connect() as connection:
        assert connection.execute(text("SELECT count(*) FROM claims")).scalar_one() == 0
    engine.dispose()


@pytest.mark.parametrize("seconds", [4, pytest.param(30, marks=pytest.mark.slow)])
def test_a_locked_file_is_waited_for(seconds: float, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "runs.db"
    store = Store(str(path))
    locked, done = threading.Event(), []

    def lock() -> None:
        connection = sqlite3.connect(path)
        connection.execute("BEGIN EXCLUSIVE")
        locked.set()
        time.sleep(seconds)
        connection.rollback()
        connection.close()

    holder = threading.Thread(target=lock)
    holder.start()
    locked.wait()
    with caplog.at_level(logging.WARNING):
        done.append(store.samples.claim("k", "me", 60))
    holder.join()
    store.close()
    assert done[0] is not None
    told = [record.message for record in caplog.records]
    assert len(told) == 1 and "runs.db is tried again: database is locked" in told[0]


@pytest.mark.parametrize("when", ["idle", "in a transaction"])
def test_a_cut_connection_is_repeated(when: str, postgresql: PostgreSQL, caplog: pytest.LogCaptureFixture) -> None:
    url = postgresql.new_database()
    store = Store(url)
    store.samples.claim("k", "me", 60)
    other = create_engine(store._engine.url)
    others = "FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND datname = current_database()"
    cut = text(f"SELECT pg_terminate_backend(pid) {others}")
    times = 0

    def work(connection: Any) -> int:
        nonlocal times
        times += 1
        connection.execute(text("INSERT INTO claims VALUES ('new', 'me', 1)"))
        if times == 1 and when == "in a transaction":
            with other.begin() as killer:
                killer.execute(cut)
        return int(connection.execute(text("SELECT count(*) FROM claims")).scalar_one())

    if when == "idle":
        with other.begin() as killer:
            killer.execute(cut)
    with caplog.at_level(logging.WARNING):
        assert write(store._engine, work) == 2
    assert times == (1 if when == "idle" else 2)
    assert any("is tried again" in record.message for record in caplog.records) == (times == 2)
    store.close()
    other.dispose()
