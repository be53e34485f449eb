"""What the tests share: a toy pipeline whose answers come from a function, and an endpoint that speaks HTTP."""

from __future__ import annotations

import signal
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from hypothesis import settings

from agenttts.db import Store
from agenttts.environments import LiveEnvironment
from agenttts.pipeline import Message, Model, Pipeline, Subtask
from agenttts.pipeline.metrics import equal
from agenttts.space import SearchSpace
from agenttts.space.cost import FlopsCost
from agenttts.testing import ScriptedClient
from tests.endpoint import FakeEndpoint
from tests.forked import Forks
from tests.postgresql import PostgreSQL, find_programs

# The machine that runs the tests may be busy: a slow example is no failure.
settings.register_profile("agenttts", deadline=None, max_examples=40)
settings.load_profile("agenttts")

SMALL, LARGE = Model("small", 1e6), Model("large", 8e6)


def toy_reply(model: Model, messages: Sequence[Message], position: int) -> str:
    """The large model is right from the first sample on; the small one on every third, never on the last question."""
    question = messages[-1]["content"]
    right = model.name == "large" or (position % 3 == 0 and not question.startswith("9"))
    return "yes" if right else f"no{position}"


@pytest.fixture
def toy_pipeline() -> Pipeline:
    """find -> answer, two models each."""
    find = Subtask("find", (SMALL, LARGE), "{{ question }}", prompt_tokens=10, completion_tokens=5, max_samples=6)
    answer = Subtask(
        "answer", (SMALL, LARGE), "{{ question }} {{ find }}", prompt_tokens=12, completion_tokens=4, max_samples=5
    )
    return Pipeline("toy", (find, answer), metric=equal("gold"))


@pytest.fixture
def toy_environment(toy_pipeline: Pipeline) -> LiveEnvironment:
    """Ten examples and five held out, without any model."""
    rows = [{"id": f"e{i}", "question": f"{i}?", "gold": "yes"} for i in range(15)]
    return LiveEnvironment(toy_pipeline, rows[:10], held_out=rows[10:], client=ScriptedClient(toy_reply))


@pytest.fixture
def toy_space(toy_pipeline: Pipeline) -> SearchSpace:
    """About half of the toy's allocations fit."""
    return SearchSpace(toy_pipeline, FlopsCost(), 320)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """A store in a real file."""
    opened = Store(str(tmp_path / "store.db"))
    yield opened
    opened.close()


@pytest.fixture(scope="session")
def forks() -> Iterator[Forks]:
    """Where short commands are run."""
    running = Forks()
    yield running
    running.close()


@pytest.fixture(scope="session")
def postgresql() -> Iterator[PostgreSQL]:
    """A real PostgreSQL server."""
    pytest.importorskip("psycopg", reason="psycopg is not installed: pip install 'agenttts[postgres]'")
    programs = find_programs()
    if programs is None:
        pytest.skip("PostgreSQL is not installed: its initdb and pg_ctl were not found")
    with PostgreSQL(programs) as server:
        yield server


@pytest.fixture(params=["sqlite", "postgresql"])
def any_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where a store can be created: a SQLite file, or a schema of its own in a real PostgreSQL."""
    if request.param == "sqlite":
        return str(tmp_path / "any.db")
    server: PostgreSQL = request.getfixturevalue("postgresql")
    return server.new_schema()


@pytest.fixture
def any_store(any_url: str) -> Iterator[Store]:
    """A store of either kind."""
    opened = Store(any_url)
    yield opened
    opened.close()


@pytest.fixture
def endpoint() -> Iterator[FakeEndpoint]:
    """An OpenAI-compatible HTTP server with faults on request."""
    with FakeEndpoint() as server:
        yield server


@pytest.fixture(autouse=True)
def interruptible() -> Iterator[None]:
    """Programs started now take interrupts, even where this one was started in the background and ignores them."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)
