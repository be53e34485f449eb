"""Two tables of `docs/reliability.md` that take a real model server, or measure time.

    python benchmarks/reliability.py kills [--kills 200] [--seed 0] > benchmarks/results/kills_llamacpp.md
    python benchmarks/reliability.py stalls > benchmarks/results/stalls.md

`kills`: a search on the tiny models of minihop, served by llama.cpp, is killed (SIGKILL) at a random instant again and
again, until it ends by itself; then the next one begins. Compared with a search that is left alone: its trials and the
scores of every example. Counted beside it: keys of the pool with a gap, trials that are not whole, servers that outlive
their search.

`stalls`: an endpoint that stops answering, from the first request or after twenty, under `--give-up-after` of one
minute. Told are the seconds from the stall to the first line and to the end.

The same with a server of the tests, which counts every request: `pytest -m slow tests/faults/test_kills.py`.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

from sqlalchemy import text

from agenttts.db import Store

MINIHOP = """
import agenttts as at
from agenttts.environments.tasks.minihop import minihop
whole = minihop()
rows = [whole.example(name) for name in whole.examples[:16]]
environment = at.LiveEnvironment(whole.pipeline, rows[:12], held_out=rows[12:], serving=whole.serving, name="small")
"""
ECHO = """
import agenttts as at
model = at.Model("m", 1e6, base_url="URL")
stage = at.Subtask("s", (model,), "{{ question }}", prompt_tokens=5, completion_tokens=2, max_samples=4)
rows = [{"id": str(i), "question": f"q{i}", "gold": "yes"} for i in range(40)]
environment = at.LiveEnvironment(at.Pipeline("p", (stage,), at.metrics.exact_match("gold")), rows)
"""
COMMAND = [sys.executable, "-u", "-c", "from agenttts.cli import main; main()", "search", "mine.py:environment"]
SEARCH = ["--budget", "700", "--cost", "flops", "--trials", "4", "--parallel", "1", "--method", "random", "--no-racing"]
STORED = ["--study", "s", "--store", "s.db"]
MARK = "AGENTTTS_RELIABILITY"
_MOST_KILLS_OF_ONE = 12
_SERVERS_END_S = 10.0


def run(folder: Path, kill_after_s: float | None) -> bool:
    """One run of the search in a folder; whether it ended by itself."""
    with subprocess.Popen(
        [*COMMAND, *SEARCH, *STORED], cwd=folder, env={**os.environ, MARK: str(folder)}, stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE, text=True,
    ) as running:  # fmt: skip
        try:
            _, said = running.communicate(timeout=kill_after_s)
        except subprocess.TimeoutExpired:
            running.send_signal(signal.SIGKILL)
            return False
    if running.returncode:
        raise SystemExit(f"the search ended with {running.returncode}: {said}")
    return True


def left_running(folder: Path) -> int:
    """Processes of a folder's searches that are still there when servers have had time to notice."""
    mark, deadline = f"{MARK}={folder}".encode(), time.monotonic() + _SERVERS_END_S
    while (found := sum(mark in _environment_of(process) for process in Path("/proc").glob("[0-9]*"))) and (
        time.monotonic() < deadline
    ):
        time.sleep(0.2)
    return found


def _environment_of(process: Path) -> list[bytes]:
    try:
        return (process / "environ").read_bytes().split(b"\0")
    except OSError:
        return []


def outcome(folder: Path) -> list[tuple[str, list[tuple[str, float]]]]:
    """Allocation, and the score of every example, trial by trial."""
    store = Store(str(folder / "s.db"))
    try:
        trials = store.archive(store.study("s")).trials
        return [(t.allocation.key, sorted((r.example, r.score) for r in t.evaluation.results)) for t in trials]
    finally:
        store.close()


def gaps_and_partial(folder: Path) -> tuple[int, int]:
    """Keys whose samples have a gap, and trials that are not whole."""
    store = Store(str(folder / "s.db"))
    try:
        with store._engine.connect() as connection:
            gaps = text("SELECT count(*) FROM (SELECT key FROM samples GROUP BY key HAVING max(position) >= count(*))")
            trials = store.archive(store.study("s")).trials
            return int(connection.execute(gaps).scalar_one()), sum(not t.evaluation.whole for t in trials)
    finally:
        store.close()


def kills(count: int, seed: int) -> None:
    """Kill searches so many times, and print what became of them."""
    luck, killed, studies, same, scores, differ, gaps, partly, left = random.Random(seed), 0, 0, 0, 0, 0, 0, 0, 0
    with tempfile.TemporaryDirectory() as temporary:
        alone = _folder(Path(temporary) / "alone", MINIHOP)
        started = time.monotonic()
        run(alone, None)
        lasts, expected = time.monotonic() - started, outcome(alone)
        while killed < count:
            folder, before = _folder(Path(temporary) / str(studies), MINIHOP), killed
            while not run(folder, luck.uniform(0.05, 1) * lasts if _goes_on(killed, before, count) else None):
                killed += 1
                left += left_running(folder)
            found = outcome(folder)
            studies += 1
            same += [key for key, _ in found] == [key for key, _ in expected]
            pairs = [(a, b) for (_, x), (_, y) in zip(found, expected, strict=True) for a, b in zip(x, y, strict=True)]
            scores, differ = scores + len(pairs), differ + sum(a != b for a, b in pairs)
            of_gaps, of_trials = gaps_and_partial(folder)
            gaps, partly = gaps + of_gaps, partly + of_trials
            print(f"{killed} kills, {studies} studies, {differ} of {scores} scores differ", file=sys.stderr)
    rows = {
        "kills (SIGKILL, at a random instant)": killed,
        "studies that they were spread over, all of which ended": studies,
        "studies with the trials of the one that was left alone": same,
        "scores of examples, and those of them that differ": f"{scores:,}, {differ}",
        "keys of the pool with a gap": gaps,
        "trials that are not whole": partly,
        "servers that outlived their search by 10 s": left,
        "a search that is left alone takes": f"{lasts:.0f} s",
    }
    _print_table(("of a search on llama.cpp", ""), rows)


def _goes_on(killed: int, before: int, count: int) -> bool:
    return killed - before < _MOST_KILLS_OF_ONE and killed < count


def stalls() -> None:
    """Print how long a stall goes unsaid, and how long it takes to end."""
    rows: dict[str, Any] = {}
    for after in (0, 20):
        with tempfile.TemporaryDirectory() as temporary:
            server = _Stalling(after)
            folder = _folder(Path(temporary), ECHO.replace("URL", server.url))
            minutes = ["--give-up-after", "1"]
            with subprocess.Popen(
                [*COMMAND, *SEARCH, *STORED, *minutes], cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                text=True,
            ) as running:  # fmt: skip
                assert running.stderr is not None
                line = running.stderr.readline()
                first = time.monotonic() - server.stalled
                last = running.stderr.read().strip().splitlines()[-1]
                running.wait()
            ended = time.monotonic() - server.stalled
            rows[f"after {after} answers"] = f"{first:.1f} s | {ended:.1f} s, exit code {running.returncode}"
            print(line.strip(), last, sep="\n", file=sys.stderr)
    _print_table(("endpoint that stalls", "first line | end, with --give-up-after 1 (60 s)"), rows)


class _Stalling:
    """Answers so many requests for completions, and then takes every connection without a word."""

    def __init__(self, answers: int) -> None:
        self._left, self.stalled = answers, 0.0
        self._socket = socket.create_server(("127.0.0.1", 0), backlog=256)
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}/v1"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            connection, _ = self._socket.accept()
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        heard = connection.recv(65536)
        if heard.startswith(b"GET"):
            body: dict[str, Any] = {"object": "list", "data": [{"id": "m", "object": "model", "owned_by": "x"}]}
        elif self._left > 0:
            self._left -= 1
            choices = [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "yes"}}]
            body = {"choices": choices, "usage": {"prompt_tokens": 3, "completion_tokens": 1}}
        else:
            self.stalled = self.stalled or time.monotonic()
            threading.Event().wait()
        content = json.dumps(body).encode()
        head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n"
        connection.sendall(f"{head}Content-Length: {len(content)}\r\n\r\n".encode() + content)
        connection.close()


def _folder(path: Path, program: str) -> Path:
    path.mkdir(exist_ok=True)
    (path / "mine.py").write_text(program)
    return path


def _print_table(head: tuple[str, str], rows: dict[str, Any]) -> None:
    machine = f"{os.cpu_count()} CPUs, Python {platform.python_version()}, agenttts {version('agenttts')}"
    print(f"`python benchmarks/reliability.py {' '.join(sys.argv[1:])}`; {machine}\n")
    columns = head[1].count("|") + 2
    print("| " + " | ".join(head) + " |\n" + "|---" * columns + "|")
    for name, value in rows.items():
        print(f"| {name} | {value} |")


def main() -> None:
    """Parse the command line, and run one of the two."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("kills", "stalls"))
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    kills(given.kills, given.seed) if given.what == "kills" else stalls()


if __name__ == "__main__":
    main()
