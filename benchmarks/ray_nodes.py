"""Two Ray nodes, each in a network namespace of its own, with a PostgreSQL store and a simulated endpoint.

    PYTHONPATH=. python benchmarks/ray_nodes.py --output benchmarks/results/ray_nodes.md      # as root

No model runs: a server outside of both namespaces answers after a scripted delay, however many ask. Three things are
measured: the examples per second of 1 to 8 workers, four a node, where waiting takes far more than computing; a search
of which one node is killed; and one of which the driver is killed and started again. Of the last two is said whether
the scores are those of the same search without Ray, and how many samples were sold twice: those that were under way at
the kill and had not reached the store, and none that had.

Machines are simulated: nodes have networks, addresses and temporary folders of their own, but share cores and disk.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import platform
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

from endpoint import endpoint, wire
from ray_scaling import PIPELINE, timed
from repeated import command, in_turns, interval, shown

from agenttts.db import Store
from agenttts.environments.ray import IN_FLIGHT
from tests.endpoint import FakeEndpoint
from tests.postgresql import PostgreSQL, find_programs

HERE, BRIDGE = Path(__file__).parent, "agenttts0"
OUTSIDE, HEAD, OTHER = "10.77.0.1", "10.77.0.2", "10.77.0.3"
NODES = {HEAD: "agenttts-head", OTHER: "agenttts-other"}
"""Address -> namespace."""
CLUSTER, CPUS = f"{HEAD}:6379", 4
WORKERS = (1, 2, 4, 8)
WAVES = 2
"""Of examples that fill every worker."""
SEARCHED_EXAMPLES = 40
SEARCHED = """
import agenttts as at

models = [at.Model("small", 1e6, base_url="URL"), at.Model("large", 8e6, base_url="URL")]
find = at.Subtask("find", models, "find {{ question }}", prompt_tokens=5, completion_tokens=2, max_samples=4)
answer = at.Subtask("answer", models, "{{ question }} {{ find }}", prompt_tokens=6, completion_tokens=2, max_samples=4)
rows = [{"id": str(i), "question": f"q{i}", "gold": "text"} for i in range(COUNT)]
environment = at.LiveEnvironment(at.Pipeline("mine", (find, answer), at.metrics.exact_match("gold")), rows)
"""
TRIALS = 6
SEARCH = f"search mine.py:environment --method random --budget 2000 --trials {TRIALS} --no-racing".split()
CLI = [sys.executable, "-W", "ignore", "-c", "from agenttts.cli import main; main()"]


def ip(*words: str) -> None:
    """Run iproute2."""
    subprocess.run(["ip", *words], check=True)


@contextmanager
def networks() -> Iterator[None]:
    """One namespace a node, and a bridge between them and this machine."""
    with ExitStack() as stack:
        ip("link", "add", BRIDGE, "type", "bridge")
        stack.callback(ip, "link", "del", BRIDGE)
        ip("addr", "add", f"{OUTSIDE}/24", "dev", BRIDGE)
        ip("link", "set", BRIDGE, "up")
        for address, name in NODES.items():
            ip("netns", "add", name)
            stack.callback(ip, "netns", "del", name)
            here = f"veth-{name[9:]}"
            ip("link", "add", here, "type", "veth", "peer", "name", "eth0", "netns", name)
            ip("link", "set", here, "master", BRIDGE, "up")
            ip("-n", name, "addr", "add", f"{address}/24", "dev", "eth0")
            for device in ("lo", "eth0"):
                ip("-n", name, "link", "set", device, "up")
        yield


def inside(address: str, words: list[str], **options: Any) -> subprocess.Popen[str]:
    """A program in the namespace of a node."""
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "text": True, **options}
    return subprocess.Popen(["ip", "netns", "exec", NODES[address], *words], **quiet)


def kill_all(address: str) -> None:
    """Everything that runs in a node's namespace, as when its machine is lost."""
    pids = subprocess.run(["ip", "netns", "pids", NODES[address]], capture_output=True, text=True, check=True).stdout
    for pid in map(int, pids.split()):
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue


def start(address: str, *, environment: dict[str, str] | None = None) -> None:
    """A Ray node, until its namespace's programs are killed; the other node has a temporary folder of its own."""
    role = f"--head --port {CLUSTER[-4:]} --include-dashboard=false" if address == HEAD else f"--address {CLUSTER}"
    ray = f"{sys.executable} -m ray.scripts.scripts start {role} --node-ip-address {address} --num-cpus {CPUS} --block"
    own = "" if address == HEAD else "mkdir -p /tmp/ray && mount -t tmpfs none /tmp/ray && "
    inside(
        address, ["sh", "-c", f"{own}exec {ray}"], env={**(environment or os.environ), "RAY_USAGE_STATS_ENABLED": "0"}
    )


def nodes() -> int:
    """How many the cluster has."""
    joined = f"import ray; ray.init({CLUSTER!r}, log_to_driver=False, logging_level=40); "
    code = f"{joined}print(sum(node['Alive'] for node in ray.nodes()))"
    asked = inside(HEAD, [sys.executable, "-W", "ignore", "-c", code], stdout=subprocess.PIPE)
    said = asked.communicate(timeout=60)[0].split()
    return int(said[-1]) if said else 0


@contextmanager
def cluster() -> Iterator[None]:
    """Both nodes."""
    try:
        for count, address in enumerate((HEAD, OTHER), start=1):
            start(address)
            wait_for(lambda: nodes() == count)  # noqa: B023
        yield
    finally:
        for address in (OTHER, HEAD):
            kill_all(address)
        time.sleep(2)


def wait_for(condition: Callable[[], bool]) -> None:
    """For two minutes at most."""
    until = time.monotonic() + 120
    while not condition():
        if time.monotonic() > until:
            raise SystemExit("it did not happen within two minutes")
        time.sleep(0.1)


class World:
    """What lies outside of both nodes: an endpoint and the database, each at an address that both reach."""

    def __init__(self, asked: FakeEndpoint, server: PostgreSQL, ports: tuple[int, int]) -> None:
        self.endpoint, self._server = asked, server
        self.url, self._port = f"http://{OUTSIDE}:{ports[0]}/v1", ports[1]

    def new_store(self) -> str:
        """The URL of an empty database."""
        return self._server.new_database().replace(f"127.0.0.1:{self._server._port}", f"{OUTSIDE}:{self._port}")


@contextmanager
def world() -> Iterator[World]:
    """While both run."""
    programs = find_programs()
    if programs is None:
        raise SystemExit("PostgreSQL is not installed: its initdb and pg_ctl were not found")
    with networks(), FakeEndpoint() as asked, PostgreSQL(programs) as server:
        asked._server.handle_error = lambda *_: None  # type: ignore[method-assign]  # who asks is killed here
        port = int(asked.url.rpartition(":")[2].removesuffix("/v1"))
        with wire(port, 0, host=OUTSIDE) as answers, wire(server._port, 0, host=OUTSIDE) as rows:
            yield World(asked, server, (answers, rows))


def scaling(found: World, runs: int, delay_s: float) -> list[str]:
    """A table of the examples per second."""
    most = (1 + WAVES) * max(WORKERS) * IN_FLIGHT

    def one(workers: str) -> float:
        words = [sys.executable, str(HERE / "ray_nodes.py"), "--drive", workers, "--store", found.new_store()]
        driver = inside(HEAD, words, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        said, complaint = driver.communicate(timeout=400)
        if driver.returncode:
            raise SystemExit(complaint)
        return float(said.split()[-1])

    with cluster(), endpoint(delay_s, model="small", text="text") as near:
        with wire(int(near.rpartition(":")[2].removesuffix("/v1")), 0, host=OUTSIDE) as port:
            url = f"http://{OUTSIDE}:{port}/v1"
            Path("two.py").write_text(PIPELINE.replace("URL", url).replace("COUNT", str(most)))
            speeds = in_turns([str(each) for each in WORKERS], one, runs)
    lines = ["| workers | examples/s | of one worker's |", "| --- | --- | --- |"]
    for workers, speed in speeds.items():
        ratio = interval([mine / alone for mine, alone in zip(speed, speeds["1"], strict=True)])
        lines.append(f"| {workers} | {shown(interval(speed), '.1f')} | {shown(ratio, '.2f')} |")
    return lines


def drive(workers: int, store: str) -> None:
    """One measurement, by the driver in its namespace."""
    full = workers * IN_FLIGHT
    print(asyncio.run(timed(workers, WAVES * full, warm_up=full, address=CLUSTER, store=store)))


def sold(asked: FakeEndpoint) -> Counter[tuple[str, str, int]]:
    """How often each sample was sold."""
    return Counter(
        (body["model"], body["messages"][-1]["content"], body["seed"] + choice)
        for body in asked.requests
        for choice in range(body.get("n", 1))
    )


def searched(store: str) -> subprocess.Popen[str]:
    """A search on the cluster, by a driver on its head."""
    return inside(HEAD, [*CLI, *SEARCH, "--ray", CLUSTER, "--store", store], stderr=subprocess.PIPE)


def scores(store: str) -> dict[Any, float]:
    """Allocation -> score."""
    opened = Store(store)
    found = {each.allocation: each.evaluation.score for each in opened.archive(opened.study()).trials}
    opened.close()
    return found


def lose_node(driver: subprocess.Popen[str], store: str) -> subprocess.Popen[str]:
    """The second machine is lost; the driver goes on."""
    kill_all(OTHER)
    return driver


def lose_driver(driver: subprocess.Popen[str], store: str) -> subprocess.Popen[str]:
    """The driver is killed, and the same command run again."""
    children = subprocess.run(["pgrep", "-P", str(driver.pid)], capture_output=True, text=True).stdout.split()
    for pid in [*map(int, children), driver.pid]:
        os.kill(pid, signal.SIGKILL)
    driver.wait()
    return searched(store)


LOSSES = {"a node is killed": lose_node, "the driver is killed, and started again": lose_driver}


def losing(found: World, runs: int) -> list[str]:
    """A table of what a loss costs."""
    found.endpoint.delay_s, found.endpoint.reply = 0.3, lambda messages, seed: "text" if seed % 3 else "other"
    Path("mine.py").write_text(SEARCHED.replace("URL", found.url).replace("COUNT", str(SEARCHED_EXAMPLES)))
    subprocess.run([*CLI, *SEARCH, "--store", "alone.db"], check=True, capture_output=True)
    wanted = scores("alone.db")
    lines = ["| what happens | scores as without Ray | samples kept | sold twice, under way at the kill | "
             "sold twice, kept before |", "|" + " --- |" * 5]  # fmt: skip
    for what, lose in LOSSES.items():
        rows = [one_loss(found, lose, wanted) for _ in range(runs)]
        for row in rows:
            print(what, row, file=sys.stderr, flush=True)
        same, kept, twice, again = zip(*rows, strict=True)
        told = [f"{sum(same)} of {runs}", *(", ".join(map(str, each)) for each in (kept, twice, again))]
        lines.append(f"| {what} | {' | '.join(told)} |")
    return lines


def one_loss(found: World, lose: Callable[..., subprocess.Popen[str]], wanted: dict[Any, float]) -> tuple[Any, ...]:
    """Whether the scores are the same, and the samples: kept, sold twice, and of these kept before the kill."""
    found.endpoint.requests.clear()
    with cluster():
        store = found.new_store()
        driver = searched(store)
        wait_for(lambda: len(found.endpoint.requests) > 2 * SEARCHED_EXAMPLES)
        before = kept_keys(store)
        driver = lose(driver, store)
        _, complaint = driver.communicate(timeout=300)
        if driver.returncode:
            raise SystemExit(complaint)
    opened, counted = Store(store), sold(found.endpoint)
    kept = opened.samples.count()
    assert kept == len(counted)
    opened.close()
    twice = {sample for sample, count in counted.items() if count > 1}
    return scores(store) == wanted, kept, sum(counted[s] - 1 for s in twice), len(twice & before)


def kept_keys(store: str) -> set[tuple[str, str, int]]:
    """The samples of a store, as the endpoint knows them."""
    opened = Store(store)
    found = {
        (prompt.model, prompt.messages[-1]["content"], position) for prompt, position, _ in opened.samples.everything()
    }
    opened.close()
    return found


def main() -> None:
    """Measure, and write the tables."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--delay", type=float, default=5.0, help="seconds of an answer while workers are compared")
    parser.add_argument("--output", type=Path)
    parser.add_argument("--drive", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--store", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.drive:
        return drive(given.drive, given.store)
    output = given.output and given.output.resolve()
    os.environ["RAY_AUTH_MODE"] = "disabled"  # else nodes have it on, and drivers off, where Ray has been used before
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        with world() as found:
            lost = losing(found, given.runs)
            scaled = scaling(found, given.runs, given.delay)
        os.chdir("/")
    machine = f"Ray {version('ray')}, Python {platform.python_version()}, {os.cpu_count()} cores"
    about = [
        f"`{command()}`; {machine}, load {os.getloadavg()[0]:.1f}. Two nodes in network namespaces of one machine, "
        f"{CPUS} workers each at most, {IN_FLIGHT} examples in flight a worker; PostgreSQL; the endpoint is simulated "
        f"and answers after {given.delay:g} s, an example asks it twice in a row.",
    ]
    searches = f"{TRIALS} trials of {SEARCHED_EXAMPLES} examples, in {given.runs} runs each:"
    text = "\n".join([*about, "", *scaled, "", searches, "", *lost, ""])
    print(text)
    if output:
        output.write_text(text)


if __name__ == "__main__":
    main()
