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
| a planner of which no word comes, nothing or blanks, by the command line | given up, rules carry on |
| a planner that writes for longer than that, a word at a time | its reply |
| an endpoint that does not list its models | told |
| a metric that waits for ever, in a coroutine or blocking | told; a model that takes long is not taken for it |
| a silent endpoint under `search`, `compare`, `ablate` with `--give-up-after` | exit code 3, one sentence |
| an interrupt with 700 requests in flight | an end within 2 s, no claim left |
| an interrupt while a function of the user's blocks a thread | an end at once |
| a SQLite file locked by another process for 4 s (30 s: slow) | the write waits, says so, and succeeds |
| the same while it is made or opened, and while a search is interrupted | waited for, and told |
| PostgreSQL ends every connection, idle and in a transaction | repeated, said, nothing twice |
| a connection to PostgreSQL that is lost when it has committed, or before it is told to | nothing twice, nothing lost |
| a search with a held-out check whose connection is cut every so many messages | as without |
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import re
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine, make_url, text

import agenttts as at
from agenttts.db import Store
from agenttts.db._engine import write
from agenttts.environments import LiveEnvironment
from agenttts.errors import EndpointError
from agenttts.llm.chat import ChatModel
from agenttts.llm.openai import OpenAIClient
from agenttts.llm.samples import Sample, Spend, StoredPrompt
from agenttts.pipeline import Sampling
from agenttts.searching import Limits
from agenttts.space import Allocation
from agenttts.study.evaluation import Evaluation, ExampleResult
from agenttts.study.spec import StudySpec
from agenttts.study.trial import AgentStep, Proposal, Refusal
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


async def test_a_planner_that_drips_is_an_error() -> None:
    with RawServer(lambda asked, number: DRIP) as server:
        with pytest.raises(EndpointError, match="the planner's model 'small' at .* did not answer within 0.4 s"):
            await ChatModel("small", base_url=server.url, timeout_s=0.4).ask("q", system="s")


def _planner(said: Answer | None) -> Callable[[dict[str, Any], int], Answer | None]:
    """A server of the pipeline's models whose planner answers this."""
    return lambda asked, number: said if asked["messages"][0]["role"] == "system" else right(asked)


@pytest.mark.parametrize(("method", "said"), [("agent", None), ("llm-zs", DRIP)])
def test_a_silent_planner_is_given_up_and_rules_carry_on(
    method: str, said: bytes | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    with RawServer(_planner(said)) as server:
        Path("silent.py").write_text(_SILENT.replace("URL", server.url))
        llm = f"--llm small --llm-base-url {server.url} --give-up-after 0.05 --trials 2"
        ended = run(f"search silent.py:environment --budget 1e6 --store s.db --method {method} {llm}", monkeypatch)
    assert ended.code == 0, ended.err
    told = "the planner's model 'small' at .* has answered nothing for 3 s and was given up"
    assert re.search(told, caplog.text) and "rules carry on" in caplog.text


async def test_a_planner_that_writes_is_not_silent() -> None:
    event = b'data: {"choices": [{"index": 0, "delta": {"content": "word "}}]}\n\n'
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def write() -> None:
            connection, _ = listening.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n")
                for part in (*[event] * 8, b"data: [DONE]\n\n"):
                    time.sleep(0.5)
                    connection.sendall(part)

        threading.Thread(target=write, daemon=True).start()
        url = f"http://127.0.0.1:{listening.getsockname()[1]}/v1"
        answer = await ChatModel("small", base_url=url, give_up_after_s=3).ask("q", system="s")
    assert answer.text.split() == ["word"] * 8


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


class Released(logging.Handler):
    """Lets go what waits once a message holds a text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.text, self.seen = text, threading.Event()

    def emit(self, record: logging.LogRecord) -> None:
        if self.text in record.getMessage():
            self.seen.set()

    def wait(self, output: Any, example: Any) -> float:
        return float(self.seen.wait(_HANGS_S))

    async def wait_in_a_coroutine(self, output: Any, example: Any) -> float:
        return float(await asyncio.to_thread(self.seen.wait, _HANGS_S))


@pytest.mark.parametrize("name", ["wait", "wait_in_a_coroutine"])
async def test_a_function_of_the_users_that_hangs_is_told(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agenttts.environments.silence.TOLD_AFTER_S", 0.2)
    monkeypatch.setattr("agenttts.environments.silence._TICK_S", 0.05)
    released = Released("no model is being asked: a function of the pipeline's own")
    logging.getLogger("agenttts").addHandler(released)
    with RawServer(right) as server:
        searched = environment(server.url, examples=1)
        searched = LiveEnvironment(
            replace(searched.pipeline, metric=getattr(released, name)),
            [{"id": "e0", "question": "word0"}],
            client=searched.client,
            probe=False,
        )
        async with searched:
            evaluation = await searched.evaluate(ONE)
    logging.getLogger("agenttts").removeHandler(released)
    assert evaluation.score == 1


async def test_a_model_that_takes_long_is_no_function_that_hangs(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("agenttts.environments.silence.TOLD_AFTER_S", 0.1)
    monkeypatch.setattr("agenttts.environments.silence._TICK_S", 0.02)

    def answer(asked: dict[str, Any], number: int) -> Answer:
        time.sleep(0.5)
        return right(asked)

    with RawServer(answer) as server:
        async with environment(server.url, examples=2) as searched:
            await searched.evaluate(ONE)
    assert not [record for record in caplog.records if "no example has come back" in record.message]


async def test_models_that_are_not_listed_are_waited_for_and_told(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("agenttts.llm.pulse.TOLD_AFTER_S", 0.2)
    monkeypatch.setattr("agenttts.llm.served._TIMEOUT_S", 0.6)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        client = OpenAIClient()
        model = at.Model("small", 1e6, base_url=f"http://127.0.0.1:{silent.getsockname()[1]}/v1")
        with pytest.raises(EndpointError, match="cannot reach .* did not answer within 0.6 s$"):
            await client.check([model])
        await client.close()
    assert [record for record in caplog.records if "waiting for model 'small'" in record.message]


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
    for pause in ("_FIRST_PAUSE_S", "_LONGEST_BACK_OFF_S"):
        monkeypatch.setattr(f"agenttts.llm.asking.{pause}", 10 * _HANGS_S)

    def answer(asked: dict[str, Any], number: int) -> Answer:
        return http("", status="503 No") if asked["messages"][-1]["content"].endswith("first") else right(asked)

    with RawServer(answer) as server:
        client, model = OpenAIClient(timeout_s=5, max_retries=1), pipeline(server.url).subtasks[0].models[0]
        first = asyncio.create_task(client.complete(model, prompt("first"), Sampling(), start=0, samples=4, seed=0))
        while not server.requests:
            await asyncio.sleep(0.01)
        others = [client.complete(model, prompt("x"), Sampling(), start=0, samples=4, seed=0) for _ in range(5)]
        async with asyncio.timeout(_HANGS_S):
            assert all(len(bought.samples) == 4 for bought in await asyncio.gather(*others))
        assert not first.done()
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)
        await client.close()


async def test_one_silent_example_is_missing() -> None:
    def answer(asked: dict[str, Any], number: int) -> Answer | None:
        return None if asked["messages"][-1]["content"].endswith("word5") else right(asked)

    with RawServer(answer) as server:
        async with environment(server.url, client=OpenAIClient(timeout_s=3, max_retries=5)) as searched:
            evaluation = await searched.evaluate(ONE)
        asked = [each["messages"][-1]["content"] for each in server.requests]
    assert set(evaluation.missing) == {"e5"} and evaluation.score == 1
    # On a machine that stops for a while a request's time may be up before it has come.
    assert 1 <= asked.count("repeat word5") <= 1 + 2


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


BLOCKED = """
import asyncio, pathlib, time
import agenttts as at
from agenttts.testing import ScriptedClient

def never_back():
    pathlib.Path("begun").touch()
    time.sleep(3600)

async def {what}(*given):
    await asyncio.to_thread(never_back)

stage = at.Subtask("s", (at.Model("m", 1e6),), {stage} prompt_tokens=5, completion_tokens=2)
pipeline = at.Pipeline("p", (stage,), lambda output, example: 1.0{pipeline})
environment = at.LiveEnvironment(pipeline, [{{"id": "1", "q": "x"}}],
                                 client=ScriptedClient(lambda model, messages, position: "x"))
"""


@pytest.mark.parametrize(
    "parts",
    [
        {"what": "program", "stage": "", "pipeline": ", run=program"},
        {"what": "stage_run", "stage": "run=stage_run,", "pipeline": ""},
    ],
    ids=lambda parts: parts["what"],
)
def test_an_interrupt_waits_for_no_blocking_call(parts: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(BLOCKED.format(**parts))
    command = [sys.executable, "-c", "from agenttts.cli import main; main()", "search", "mine.py:environment"]
    command += ["--cost", "flops", "--budget", "1e9", "--method", "random", "--trials", "1"]
    with subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True) as child:
        deadline = time.monotonic() + _HANGS_S
        while not (tmp_path / "begun").exists() and child.poll() is None and time.monotonic() < deadline:
            time.sleep(0.05)
        child.send_signal(signal.SIGINT)
        _, said = child.communicate(timeout=_HANGS_S)
    assert child.returncode == 130 and said.startswith("interrupted")


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


def test_a_locked_file_is_waited_for_when_it_is_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("agenttts.db._engine._BUSY_TIMEOUT_MS", 50)
    path, locked = tmp_path / "runs.db", threading.Event()

    def lock() -> None:
        connection = sqlite3.connect(path)
        connection.execute("BEGIN EXCLUSIVE")
        locked.set()
        until = time.monotonic() + _HANGS_S
        while not caplog.records and time.monotonic() < until:
            time.sleep(0.05)
        connection.rollback()
        connection.close()

    holder = threading.Thread(target=lock)
    holder.start()
    locked.wait()
    Store(str(path)).close()
    holder.join()
    assert [record.message for record in caplog.records] == [f"the store {path} is tried again: database is locked"]


def test_an_interrupt_says_that_it_waits_for_a_locked_file(tmp_path: Path) -> None:
    with RawServer(lambda asked, number: right(asked) if number < 30 else None) as server:
        command = [sys.executable, "-c", _MANY.replace("700", "40"), server.url, str(tmp_path / "runs.db")]
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as child:
            deadline = time.monotonic() + _HANGS_S
            while len(server.requests) < 40 and time.monotonic() < deadline:
                time.sleep(0.05)
            connection = sqlite3.connect(tmp_path / "runs.db", timeout=_HANGS_S)
            connection.execute("BEGIN EXCLUSIVE")
            child.send_signal(signal.SIGINT)
            said = ""
            while "waiting until what was paid for is stored; an interrupt does not wait for it" not in said:
                assert child.stderr is not None
                said = child.stderr.readline() or pytest.fail("it ended without a word")
            connection.rollback()
            connection.close()
            assert child.wait(timeout=_HANGS_S) == 130


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


class Cutter:
    """A wire to PostgreSQL that is cut: before the server hears of something, or before that is answered.

    Args:
        port: Of the server.
        heard: Whether the server hears of it.
        every: Messages to the server after which it is cut, again and again; at a commit when 0, while `armed`.
    """

    def __init__(self, port: int, *, heard: bool, every: int = 0) -> None:
        self._port, self._heard, self._every, self.cuts = port, heard, every, 0
        self._messages = count(1)
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]
        self.armed = False
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._socket.accept()
                server = socket.create_connection(("127.0.0.1", self._port))
                threading.Thread(target=self._forward, args=(client, server, self._is_cut), daemon=True).start()
                threading.Thread(target=self._forward, args=(server, client), daemon=True).start()

    def _is_cut(self, said: bytes) -> bool:
        if self._every:
            return next(self._messages) % self._every == 0
        return self.armed and said.startswith(b"Q") and b"COMMIT" in said

    def _forward(
        self, source: socket.socket, to: socket.socket, is_cut: Callable[[bytes], bool] = lambda said: False
    ) -> None:
        with contextlib.suppress(OSError), source:
            while said := source.recv(65536):
                if is_cut(said):
                    self.armed, self.cuts = False, self.cuts + 1
                    source.shutdown(socket.SHUT_RDWR)
                    if not self._heard:
                        break
                to.sendall(said)
        with contextlib.suppress(OSError):
            to.shutdown(socket.SHUT_RDWR)


@pytest.mark.parametrize("heard", [True, False])
def test_a_commit_that_is_not_acknowledged_is_not_repeated(heard: bool, postgresql: PostgreSQL) -> None:
    url = make_url(postgresql.new_database())
    cutter = Cutter(url.port or 0, heard=heard)
    store = Store(url.set(port=cutter.port).render_as_string(hide_password=False))
    spec = StudySpec(
        environment="e", pipeline="p", sizes={"s": {"m": 1.0}}, fingerprint="f", cost_model="flops", budget=1.0,
        pricing="x", method="random", seed=0, examples=2,
    )  # fmt: skip
    study = store.start("s", spec)
    spend, kept = Spend(requests=1, prompt_tokens=3, completion_tokens=4), StoredPrompt("k", "m", "", [], {}, 3)
    evaluation = Evaluation(results=(ExampleResult(example="1", score=1),), spend=Spend(reused_prompt_tokens=5))
    proposal = Proposal(Allocation({"s": ("m", 1)}))
    trial = store.add_trial(study, proposal, evaluation, cost=1, searcher="x", round=0)
    further = Evaluation(results=(ExampleResult(example="2", score=1),), spend=Spend(reused_prompt_tokens=7))
    writes: list[Callable[[], object]] = [
        lambda: store.samples.add(kept, 0, [Sample("t", 4, "")], spend=spend, study_id=study.id),
        lambda: store.add_step(study, AgentStep(round=0, node="reflect", planner="p", spend=spend)),
        lambda: store.add_cache_use(study, {"m": (8, 2)}),
        lambda: store.extend_trial(study, trial, further),
        lambda: store.add_refusal(study, Refusal(allocation=proposal.allocation, reasons=(), searcher="x", round=0)),
    ]
    for write_ in writes:
        cutter.armed = True
        write_()
    assert cutter.cuts == len(writes)
    archive, (again,) = store.archive(study), store.studies()
    assert store.spend(study).requests == 2 and store.spend(study).reused_prompt_tokens == 12
    assert len(store.steps(study)) == len(archive.refusals) == 1 and again.prefix_caches == {"m": (8, 2)}
    assert len(archive.trials[0].evaluation.results) == len(archive.trials[0].looks) == 2
    store.close()
    cutter.close()


async def _searched(url: str, server: RawServer, store: str) -> tuple[Any, ...]:
    """A search, and what there is of it afterwards."""
    asked = len(server.requests)
    async with environment(url, examples=6, held_out=3) as searched:
        method = at.searcher("agent", llm="none")
        await at.search(searched, method, space(searched), store, study_name="one", limits=Limits(trials=3))
    kept = Store(store)
    study = kept.study("one")
    trials = [
        (each.allocation.key, dict(each.evaluation.missing), [one.score for one in each.evaluation.results])
        for each in kept.archive(study).trials
    ]
    found = (trials, kept.samples.count(), kept.spend(study).requests, len(kept.steps(study)))
    kept.close()
    return (*found, len(server.requests) - asked)


# The driver complains of cursors and connections that it could not close.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize(("every", "heard"), [(97, True), (83, False)])
async def test_a_search_whose_connection_is_cut_again_and_again(
    every: int, heard: bool, postgresql: PostgreSQL, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agenttts.db._engine._FIRST_PAUSE_S", 0.01)
    url = make_url(postgresql.new_database())
    cutter = Cutter(url.port or 0, heard=heard, every=every)
    with RawServer(right) as server:
        whole = await _searched(server.url, server, postgresql.new_database())
        cut = url.set(port=cutter.port).render_as_string(hide_password=False)
        assert await _searched(server.url, server, cut) == whole
    assert cutter.cuts > 2
    cutter.close()
    gc.collect()  # the driver is to complain here, not in another test
