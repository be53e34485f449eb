"""A store that is full: the search ends in one sentence, and goes on, once there is space, with all that was kept.

Tried: a PostgreSQL database on a file system of 16 MiB, and a SQLite file on one of 5 MiB, which the answers fill.
"""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from agenttts.db import Store
from tests.endpoint import FakeEndpoint
from tests.postgresql import PostgreSQL

PROGRAM = """
import agenttts as at
models = tuple(at.Model(name, size, base_url={url!r}) for name, size in (("small", 1e6), ("large", 8e6)))
answer = at.Subtask("answer", models, "{{{{ question }}}}", prompt_tokens=10, completion_tokens=5, max_samples=4,
                    sampling=at.Sampling(max_tokens=30_000))
pipeline = at.Pipeline("full", (answer,), metric=lambda output, example: float(output < "8"))
rows = [dict(id=f"e{{i}}", question=f"What is {{i}} plus {{i}}?") for i in range(10)]
environment = at.LiveEnvironment(pipeline, rows)
"""
COMMAND = [sys.executable, "-c", "from agenttts.cli import main; main()", "search", "full.py:environment"]
OPTIONS = ["--budget", "1e9", "--trials", "8", "--method", "grid", "--study", "s", "--store"]
ROOT = Path(__file__).parents[2]
_ANSWER_BYTES = 100_000
"""So long that those of all trials do not fit, and so random that PostgreSQL cannot make them shorter."""


@contextmanager
def small_disk(server: PostgreSQL) -> Iterator[tuple[str, Path]]:
    """A database on a file system of 16 MiB, and where that is mounted."""
    import psycopg

    with mounted(f"size=16m,uid={server.user.pw_uid},gid={server.user.pw_gid}") as folder:
        with psycopg.connect(server.url("postgres"), autocommit=True) as connection:
            connection.execute(f"CREATE TABLESPACE small LOCATION '{folder}'".encode())
            connection.execute("CREATE DATABASE small TABLESPACE small")
            try:
                yield server.url("small"), folder
            finally:
                connection.execute("DROP DATABASE small WITH (FORCE)")
                connection.execute("DROP TABLESPACE small")


@contextmanager
def mounted(options: str) -> Iterator[Path]:
    """A file system in memory."""
    folder = Path(tempfile.mkdtemp(prefix="agenttts-", dir="/tmp"))
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "none", folder], capture_output=True, text=True)
    try:
        if done.returncode:
            pytest.skip(f"a small file system cannot be mounted here: {done.stderr.strip()}")
        yield folder
    finally:
        subprocess.run(["umount", folder], capture_output=True)
        shutil.rmtree(folder)


def _search(url: str, folder: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run([*COMMAND, *OPTIONS, url], cwd=folder, env=environment, capture_output=True, text=True)


def _reply(messages: Sequence[dict[str, str]], seed: int) -> str:
    return random.Random(f"{messages[-1]['content']}{seed}").randbytes(_ANSWER_BYTES).hex(" ", 4)


def _kept(url: str) -> tuple[dict[str, tuple[int, float]], set[tuple[str, str]]]:
    """Allocation -> number and score of its trial; and what was answered, by model."""
    store = Store(url)
    trials = store.archive(store.study("s")).trials
    samples = {(kept.model, sample.text) for kept, _, sample in store.samples.everything()}
    store.close()
    return {each.allocation.key: (each.number, each.evaluation.score) for each in trials}, samples


def _asked(endpoint: FakeEndpoint) -> set[tuple[str, str]]:
    return {
        (body["model"], _reply(body["messages"], body["seed"] + choice))
        for body in endpoint.requests
        for choice in range(body.get("n", 1))
    }


@pytest.mark.slow
def test_a_search_goes_on_where_a_full_postgresql_stopped_it(
    postgresql: PostgreSQL, endpoint: FakeEndpoint, tmp_path: Path
) -> None:
    with small_disk(postgresql) as (url, folder):
        told = _goes_on(url, folder, endpoint, tmp_path)
    assert told.startswith("the store postgresql://") and told.endswith("No space left on device"), told


@pytest.mark.slow
def test_a_search_goes_on_where_a_full_file_stopped_it(endpoint: FakeEndpoint, tmp_path: Path) -> None:
    with mounted("size=5m") as folder:
        told = _goes_on(str(folder / "s.db"), folder, endpoint, tmp_path)
    assert told.endswith("s.db refused: database or disk is full"), told


def _goes_on(url: str, disk: Path, endpoint: FakeEndpoint, folder: Path) -> str:
    """What is told of a search whose store is full; once there is space, it goes on with all that was kept."""
    endpoint.reply = _reply
    (folder / "full.py").write_text(PROGRAM.format(url=endpoint.url))
    ended = _search(url, folder)
    assert ended.returncode == 4, ended
    (told,) = (line for line in ended.stderr.splitlines() if line.startswith("error: "))
    assert "s3cret" not in ended.stderr
    trials, samples = _kept(url)
    assert trials and samples
    endpoint.requests.clear()
    subprocess.run(["mount", "-o", "remount,size=64m", disk], check=True)
    again = _search(url, folder)
    assert again.returncode == 0, again
    assert not _asked(endpoint) & samples
    later, all_samples = _kept(url)
    assert len(later) == 8 and later.items() >= trials.items() and all_samples == samples | _asked(endpoint)
    return told.removeprefix("error: ")
