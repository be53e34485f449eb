"""The code blocks of README and guides, and what a reader does with them, from the top of a page to its end.

The fence says what happens to a block:
    ```python                    is run, as the file that `title="..."` names
    ```sh                        is run in bash, in one folder a page
    ```sh title="until Ctrl-C"   is started, and interrupted at the end of the page
    ```text                      is what the block above it prints; lines (`...`) and words may be left out
    ```text title="one run"      is the same but for its numbers and choices, which the next run has others of
    ```text title="..."          is a picture of what the title says
    ```yaml                      is shown: none is run
There are no others. Blocks that are not run are in `NOT_RUN`, with the reason; those that need what a machine may lack
are in `NEEDS`. Every command of all of them, and of the text, is parsed.

Three things differ from what a reader does: a page's ports are exchanged for free ones, `make` works in a clone in
small (`tests/reader.py`) that takes the packages as installed, and what ends by itself is forked (`tests/forked.py`).
"""

from __future__ import annotations

import io
import os
import random
import re
import runpy
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, redirect_stdout, suppress
from itertools import dropwhile, groupby
from pathlib import Path
from shutil import which
from string import Template
from typing import IO, NamedTuple

from agenttts._util.extras import installed
from agenttts.environments.tasks.chatdev.sandbox import require_sandbox
from agenttts.errors import ConfigError
from tests import forked
from tests.forked import Forks
from tests.postgresql import find_programs

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"
DOCS = ROOT / "docs"
PAGES = [README, *sorted(DOCS.rglob("*.md"))]
UNTIL = "until Ctrl-C"
ONE_RUN = "one run"

NOT_RUN = {
    "# cluster.yaml": "needs a cloud's machines; it is checked against the schema of Ray's autoscaler",
    "# serve_70b.py": "needs vLLM inside of Ray Serve, and 16 GPUs; its names and fields are looked up in Ray's source",
}
"""How a block begins that is not run -> why."""


def _sandboxed() -> bool:
    try:
        return bool(require_sandbox())
    except ConfigError:
        return False


NEEDS: Mapping[str, tuple[str, Callable[[], bool]]] = {
    "make demo": ("llama.cpp: pip install 'agenttts[local]'", lambda: installed("xllamacpp")),
    "methods gp": ("PyTorch: pip install 'agenttts[gp]'", lambda: installed("torch")),
    "chatdev": ("a sandbox for programs", _sandboxed),
    "ray": ("Ray: pip install 'agenttts[ray]'", lambda: installed("ray")),
    "app.py:environment": ("Node", lambda: which("node") is not None),
    "POSTGRESQL_URL": ("PostgreSQL", lambda: installed("psycopg") and find_programs() is not None),
}
"""A word in a block -> what it needs, and whether that is here."""

_PORT = re.compile(r"--port[ =](\d+)")
_FENCE = re.compile(r'^```(\w*)(?: title="(.*?)")?\n(.*?)^```$', re.M | re.S)
_SHELL = f"""set -euo pipefail
agenttts() {{ {shlex.quote(sys.executable)} -c 'from agenttts.cli import main; main()' "$@"; }}
python() {{ {shlex.quote(sys.executable)} "$@"; }}
make() (cd clone && PATH=/usr/bin:/bin command make -o .venv/local -o .venv/dev "$@")
"""
_FORKED = f"""
agenttts() {{ {shlex.quote(sys.executable)} -I -S {shlex.quote(forked.__file__)} "$FORKS" "$@"; }}
"""
_RUN_S, _START_S, _END_S = 900.0, 180.0, 120.0  # many times what they take: the machine may be busy
_VARYING = re.compile(r"[\w.-]+ x\d+|\d[\d.,]* (?:s|min|h)\b|\d[\d.,]*")
"""A choice, a time, a number."""
_ROOM = 10  # `agenttts serve` takes a port for each of its models


class Block(NamedTuple):
    """A fenced block of a page."""

    language: str
    title: str
    code: str

    @property
    def reason(self) -> str:
        """Why it is not run; empty where it is."""
        return next((why for begin, why in NOT_RUN.items() if self.code.startswith(begin)), "")

    @property
    def missing(self) -> str:
        """What this machine lacks for it; empty where it has all."""
        lacking = [what for word, (what, here) in NEEDS.items() if re.search(rf"\b{word}", self.code) and not here()]
        return ", ".join(lacking)


def blocks(page: Path) -> list[Block]:
    """A page's blocks in their order."""
    return [Block(*found) for found in _FENCE.findall(page.read_text())]


def follow(page: Path, forks: Forks, hosts: Mapping[str, str] | None = None) -> list[str]:
    """Do in the current folder what a page says; AssertionError where it prints something else than the page.

    Args:
        page: The page.
        forks: Who runs its commands.
        hosts: What stands for servers that it names, as both are written in a URL.

    Returns:
        What this machine lacks for the blocks that were left out.
    """
    printed: str | None = ""
    lacking: list[str] = []
    differing: list[str] = []
    with ExitStack() as running:
        for number, block in enumerate(_at_hosts(_elsewhere(blocks(page)), hosts or {})):
            if block.language == "text":
                if block.title in ("", ONE_RUN) and printed is not None:
                    differing += _differing(block, printed)
            elif block.reason or block.missing:
                printed = None
                lacking += [block.missing] if block.missing else []
            elif block.language == "python":
                printed = _run_python(block.code, Path(block.title or f"block_{number}.py"))
            elif block.title == UNTIL:
                running.enter_context(_running(block.code))
            else:
                printed = _run(block.code, forks)
    assert not differing, "\n".join([f"{page.name} does not show what its commands print:", *differing])
    return lacking


def _elsewhere(page: Sequence[Block]) -> list[Block]:
    """The blocks of a page, each port that it serves on exchanged for a free one."""
    served = dict.fromkeys(port for block in page if block.title == UNTIL for port in _PORT.findall(block.code))
    bases = random.Random(os.getpid()).sample(range(20_000, 32_000, _ROOM), 1_200)  # no outgoing connection gets these
    free = (base for base in bases if not any(_listens(base + place) for place in range(_ROOM)))
    moved = {port: str(next(free)) for port in served}
    return [block._replace(code=re.sub(r"\b\d+\b", lambda n: moved.get(n[0], n[0]), block.code)) for block in page]


def _at_hosts(page: Sequence[Block], hosts: Mapping[str, str]) -> Iterator[Block]:
    """The blocks of a page, each server that it names exchanged for what stands for it."""
    for block in page:
        for host, ours in hosts.items():
            block = block._replace(code=block.code.replace(host, ours))
        yield block


def _run_python(code: str, file: Path) -> str:
    file.write_text(code)
    with redirect_stdout(io.StringIO()) as printed:
        runpy.run_path(str(file))
    return printed.getvalue()


def _run(code: str, forks: Forks) -> str:
    command, known = ["bash", "-c", _SHELL + _FORKED + code], {**os.environ, "FORKS": forks.socket}
    done = subprocess.run(command, env=known, capture_output=True, text=True, timeout=_RUN_S)
    assert done.returncode == 0, f"{code}\n{done.stdout}{done.stderr}"
    return done.stdout


@contextmanager
def _running(code: str) -> Iterator[None]:
    """Runs a block that would not end: from when it listens on every `--port` that it names, until an interrupt."""
    ports = [int(port) for port in _PORT.findall(code)]
    with tempfile.TemporaryFile("w+") as log:
        process = subprocess.Popen(["bash", "-c", _SHELL + code], stdout=log, stderr=log, start_new_session=True)
        try:
            deadline = time.monotonic() + _START_S
            while not all(map(_listens, ports)):
                assert process.poll() is None and time.monotonic() < deadline, f"{code}\n{_read(log)}"
                time.sleep(0.1)
            yield
            os.killpg(process.pid, signal.SIGINT)
            process.wait(_END_S)
            assert "Traceback" not in _read(log), f"{code}\n{_read(log)}"
        finally:
            with suppress(ProcessLookupError):  # what bash starts with & takes no interrupt
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _read(log: IO[str]) -> str:
    log.seek(0)
    return log.read()


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _differing(block: Block, printed: str) -> list[str]:
    """The lines of a block that were not printed, and all that was."""
    shown = block.code
    if block.title == ONE_RUN:
        shown, printed = (_VARYING.sub("#", text) for text in (shown, printed))
    lines = [line.split() for line in printed.splitlines()]
    missing = [line for line in shown.splitlines() if line != "..." and not any(_holds(p, line.split()) for p in lines)]
    return [*missing, "printed:", printed] if missing else []


def _holds(printed: list[str], words: list[str]) -> bool:
    """Whether words are printed in this order, others between them or not."""
    rest = iter(printed)
    return all(word in rest for word in words)


def commands(page: Path) -> Iterator[list[str]]:
    """The arguments of every `agenttts ...` of a page, in blocks and in the text."""
    for block in blocks(page):
        if block.language != "python":
            known = dict(re.findall(r'^(\w+)="?(.*?)"?$', block.code, re.M))
            for line in Template(block.code).safe_substitute(known).replace("\\\n", " ").splitlines():
                yield from _commands_of(line)
    for span in re.findall(r"`([^`]+)`", _FENCE.sub("", page.read_text())):
        yield from _commands_of(span.replace("\n", " "))


def _commands_of(line: str) -> Iterator[list[str]]:
    if "agenttts " not in line:
        return
    words = shlex.shlex(line, posix=True, punctuation_chars="&|;>")
    words.whitespace_split = True
    for joint, part in groupby(words, lambda word: set(word) <= set("&|;>")):
        command = list(dropwhile(lambda word: re.match(r"\w+=", word), part))
        if not joint and command[:1] == ["agenttts"]:
            yield command[1:]
