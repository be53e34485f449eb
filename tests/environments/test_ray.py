"""A real local Ray, real processes and a real endpoint; where Ray is not installed, only what is refused before."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

import agenttts as at
from agenttts.db import Store
from agenttts.environments import LiveEnvironment, environment
from agenttts.environments.ray import IN_FLIGHT, RayEnvironment
from agenttts.errors import ConfigError
from agenttts.protocols import Environment
from agenttts.searching import search
from agenttts.searching.progress import SearchResult
from tests.endpoint import FakeEndpoint
from tests.postgresql import PostgreSQL

needs_ray = pytest.mark.skipif(find_spec("ray") is None, reason="Ray is not installed: pip install 'agenttts[ray]'")
# Ray opens sockets and files that it leaves to the interpreter's end.
pytestmark = [
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]

EXAMPLES = 40
DRIVER = [sys.executable, "-W", "ignore", "-c", "from agenttts.cli import main; main()"]
PIPELINE = """
import os, pathlib
import agenttts as at

models = [at.Model("small", 1e6, base_url="URL"), at.Model("large", 8e6, base_url="URL")]

def parsed(text, given):
    pathlib.Path(f"worker-{os.getpid()}").touch()
    return text

find = at.Subtask("find", models, "find {{ question }}", prompt_tokens=5, completion_tokens=2, max_samples=4,
                  parser=parsed)
answer = at.Subtask("answer", models, "{{ question }} {{ find }}", prompt_tokens=6, completion_tokens=2, max_samples=4)
rows = [{"id": str(i), "question": f"q{i}", "gold": "text"} for i in range(EXAMPLES)]
environment = at.LiveEnvironment(at.Pipeline("mine", (find, answer), at.metrics.exact_match("gold")), rows)
"""


@pytest.fixture
def folder(endpoint: FakeEndpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, with a pipeline in `mine.py` whose models are at the endpoint."""
    endpoint.reply = lambda messages, seed: "text" if seed % 3 else "other"
    (tmp_path / "mine.py").write_text(PIPELINE.replace("URL", endpoint.url).replace("EXAMPLES", str(EXAMPLES)))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def mine() -> LiveEnvironment:
    """The environment of `mine.py`."""
    found = environment("mine.py:environment")
    assert isinstance(found, LiveEnvironment)
    return found


async def searched(found: Environment, store: str, *, limits: at.Limits | None = None) -> SearchResult:
    """Six random trials, two at a time."""
    space = at.SearchSpace(found.pipeline, at.cost_model("flops"), 2000)
    limits = limits or at.Limits(trials=6)
    return await search(found, at.searcher("random", seed=1), space, store, study_name="s", limits=limits, parallel=2)


def sold(endpoint: FakeEndpoint) -> Counter[tuple[str, str, int]]:
    """How often each sample (model, prompt, seed) was sold."""
    return Counter(
        (body["model"], body["messages"][-1]["content"], body["seed"] + choice)
        for body in endpoint.requests
        for choice in range(body.get("n", 1))
    )


def workers(folder: Path) -> list[int]:
    """Processes that have parsed an answer."""
    return [int(path.name.removeprefix("worker-")) for path in folder.glob("worker-*")]


def wait_for(condition: Callable[[], bool]) -> None:
    """For a minute at most."""
    for _ in range(600):
        if condition():
            return
        time.sleep(0.1)
    raise AssertionError("it did not happen within a minute")


@needs_ray
async def test_two_workers_find_what_one_process_finds_though_one_is_killed(
    endpoint: FakeEndpoint, folder: Path
) -> None:
    alone = await searched(mine(), "alone.db")
    for path in folder.glob("worker-*"):
        path.unlink()
    wanted = sold(endpoint).keys()
    endpoint.requests.clear()
    endpoint.delay_s = 0.1
    killed: list[int] = []

    def kill_one() -> None:
        wait_for(lambda: len(workers(folder)) == 2)
        killed.append(workers(folder)[0])
        os.kill(killed[0], signal.SIGKILL)

    found = mine()
    async with RayEnvironment(found, "local", store="ray.db", name="mine.py:environment", workers=2) as spread_out:
        killing = asyncio.create_task(asyncio.to_thread(kill_one))
        spread = await searched(spread_out, "ray.db")
        await killing
    assert os.getpid() not in workers(folder)
    assert {t.allocation: t.evaluation.score for t in spread.archive.trials} == {
        t.allocation: t.evaluation.score for t in alone.archive.trials
    }
    assert len(set(workers(folder)) - set(killed)) == 2  # another took its place
    assert sold(endpoint).keys() == wanted
    twice = sum(count - 1 for count in sold(endpoint).values())
    assert twice <= IN_FLIGHT * 4  # what the killed worker was waiting for, at most 4 samples each


@needs_ray
def test_how_endpoints_are_waited_for_reaches_the_workers(endpoint: FakeEndpoint, folder: Path) -> None:
    """Three requests at once over two workers, none is repeated, and one that takes too long is given up."""
    lock, under_way, most = threading.Lock(), 0, 0

    def reply(messages: object, seed: int) -> str:
        nonlocal under_way, most
        with lock:
            under_way += 1
            most = max(most, under_way)
        time.sleep(0.03)
        with lock:
            under_way -= 1
        return "text"

    endpoint.reply = reply
    options = "--ray local --method grid --budget 2000 --trials 1 --max-in-flight 3 --retries 0 --store s.db"
    command = [*DRIVER, "search", "mine.py:environment", *options.split()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert most == 3 and len(workers(folder)) == 2
    endpoint.delay_s = 0.5
    late = subprocess.run(
        [*command, "--study", "late", "--store", "t.db", "--timeout", "0.2"],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert late.returncode != 0 and "did not answer within 0.2 s" in late.stderr, late.stderr


@needs_ray
def test_a_killed_driver_goes_on_where_it_was(endpoint: FakeEndpoint, folder: Path) -> None:
    endpoint.delay_s = 0.05
    options = "--ray local --method random --budget 2000 --trials 4 --no-racing --store s.db"
    driver = [*DRIVER, "search", "mine.py:environment", *options.split()]
    first = subprocess.Popen(driver, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wait_for(lambda: len(endpoint.requests) > 3 * EXAMPLES)
    first.kill()
    first.wait()
    second = subprocess.run(driver, capture_output=True, text=True, timeout=120)
    assert second.returncode == 0, second.stderr
    store = Store("s.db")
    study = store.study()
    assert len(store.archive(study).trials) == 4
    assert store.spend(study).requests <= len(endpoint.requests)
    assert sum(count - 1 for count in sold(endpoint).values()) <= 4 * IN_FLIGHT * (os.cpu_count() or 1)
    store.close()


@needs_ray
def test_a_silent_endpoint_is_told_and_given_up_as_without_ray(endpoint: FakeEndpoint, folder: Path) -> None:
    endpoint.delay_s = 60
    options = "--ray local --method random --budget 2000 --trials 4 --store s.db --give-up-after 0.2"
    driver = [*DRIVER, "search", "mine.py:environment", *options.split()]
    ended = subprocess.run(driver, capture_output=True, text=True, timeout=120)
    assert ended.returncode == 3, ended.stderr
    told, given_up = [line for line in ended.stderr.splitlines() if "local" in line or "given up" in line]
    assert told.startswith("waiting for the next example at the Ray cluster local: no answer for 1")
    assert given_up.startswith("error: model ") and "has answered nothing for 12 s and was given up" in given_up


@needs_ray
async def test_a_limit_on_tokens_holds_up_to_what_is_in_flight(endpoint: FakeEndpoint, folder: Path) -> None:
    found = mine()
    async with RayEnvironment(found, "local", store="ray.db", name="mine.py:environment", workers=2) as spread_out:
        await searched(spread_out, "ray.db", limits=at.Limits(trials=50, max_tokens=1500))
    store = Store("ray.db")
    spent = store.spend(store.study())
    store.close()
    assert 1500 <= spent.tokens < 1500 + 2 * IN_FLIGHT * 40


@needs_ray
async def test_a_worker_whose_environment_differs_says_so(endpoint: FakeEndpoint, folder: Path) -> None:
    found = mine()
    text = Path("mine.py").read_text()
    Path("mine.py").write_text(text.replace("find {{", "look for {{"))
    async with RayEnvironment(found, "local", store="ray.db", name="mine.py:environment", workers=1) as spread_out:
        with pytest.raises(ConfigError, match="has another environment 'mine.py:environment'"):
            await searched(spread_out, "ray.db")
    assert not endpoint.requests


@needs_ray
async def test_a_running_cluster_is_joined_and_left_running(endpoint: FakeEndpoint, folder: Path) -> None:
    from ray.cluster_utils import Cluster

    cluster: Any = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    try:
        for store in ("one.db", "two.db"):  # the second search finds the cluster that the first has left
            found = mine()
            async with RayEnvironment(found, cluster.address, store=store, name="mine.py:environment") as spread_out:
                result = await searched(spread_out, store, limits=at.Limits(trials=1))
            assert len(result.best.evaluation.results) == EXAMPLES
        cluster.add_node(num_cpus=1)
        with pytest.raises(ConfigError, match="a Ray cluster of 2 machines cannot share a SQLite file"):
            async with RayEnvironment(mine(), cluster.address, store="one.db", name="mine.py:environment"):
                pass
    finally:
        cluster.shutdown()


@needs_ray
async def test_a_node_without_the_code_is_one_sentence_before_anything_is_paid_for(
    endpoint: FakeEndpoint, folder: Path
) -> None:
    from ray.cluster_utils import Cluster

    (folder / "other" / "agenttts").mkdir(parents=True)
    (folder / "other" / "agenttts" / "__init__.py").touch()  # another package of that name comes first
    without = {"num_cpus": 1, "env_vars": {"PYTHONPATH": str(folder / "other")}}
    cluster: Any = Cluster(initialize_head=True, head_node_args=without)
    try:
        with pytest.raises(ConfigError, match=r"cannot be started \(ModuleNotFoundError: .*\): install the same"):
            async with RayEnvironment(mine(), cluster.address, store="s.db", name="mine.py:environment"):
                pass
    finally:
        cluster.shutdown()
    assert not endpoint.requests


@pytest.mark.parametrize(
    ("address", "store", "sentence"),
    [
        ("127.0.0.1:1", "s.db", "no Ray cluster answers at 127.0.0.1:1"),
        ("nowhere", "s.db", "--ray takes HOST:PORT"),
        ("ray://127.0.0.1:1", "s.db", "--ray takes HOST:PORT"),
        ("local", "sqlite://", "give the store as the path"),
    ],
)
def test_what_cannot_be_used_is_one_sentence(folder: Path, address: str, store: str, sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        RayEnvironment(mine(), address, store=store, name="mine.py:environment")


def test_a_server_that_is_no_ray_cluster_is_one_sentence(folder: Path, endpoint: FakeEndpoint) -> None:
    address = endpoint.url.removeprefix("http://").removesuffix("/v1")
    with pytest.raises(ConfigError, match=f"what answers at {address} is no Ray cluster"):
        RayEnvironment(mine(), address, store="s.db", name="mine.py:environment")


def test_an_environment_without_endpoints_is_refused(toy_environment: LiveEnvironment) -> None:
    with pytest.raises(ConfigError, match="'toy' brings its own models or asks none.*; leave --ray out"):
        RayEnvironment(toy_environment, "local", store="s.db", name="toy")


def test_a_refused_search_leaves_no_store(folder: Path) -> None:
    command = "search mine.py:environment --ray 127.0.0.1:1 --method random --budget 2000 --store s.db".split()
    program = [sys.executable, "-c", "from agenttts.cli import main; main()", *command]
    refused = subprocess.run(program, capture_output=True, text=True)
    assert refused.returncode == 2 and refused.stderr.count("\n") == 1, refused.stderr
    assert not Path("s.db").exists()


@needs_ray
def test_a_cluster_of_two_nodes_and_postgresql_outlive_a_node_and_the_driver(
    endpoint: FakeEndpoint, folder: Path, postgresql: PostgreSQL
) -> None:
    """Two raylets on this machine, which is all that a test can have of several machines."""
    from ray.cluster_utils import Cluster

    endpoint.delay_s = 0.05
    cluster: Any = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    try:
        other = cluster.add_node(num_cpus=3)  # its workers are lost all at once
        url = postgresql.new_schema()
        store = Store(url)
        options = f"--ray {cluster.address} --method random --budget 2000 --trials 6 --no-racing --store {url}"
        command = [*DRIVER, "search", "mine.py:environment", *options.split()]
        first = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_for(lambda: len(workers(folder)) == 4)
        cluster.remove_node(other, allow_graceful=False)
        wait_for(lambda: store.count_trials(store.study()) >= 2)  # it goes on without the node
        first.kill()
        first.wait()
        second = subprocess.run(command, capture_output=True, text=True, timeout=120)
        assert second.returncode == 0, second.stderr
    finally:
        cluster.shutdown()
    study = store.study()
    assert len(store.archive(study).trials) == 6
    assert store.samples.count() == len(sold(endpoint))
    # What was under way when the node and the driver died, at most 4 samples a request, and nothing else.
    assert sum(count - 1 for count in sold(endpoint).values()) <= 4 * (
        len(endpoint.requests) - store.spend(study).requests
    )
    store.close()
