"""The sandbox bounds memory that no process maps, and lets no program speak to a virtual machine's host."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from agenttts.environments.tasks.chatdev.sandbox import ProgramLimits, _run, require_sandbox, run_program
from agenttts.environments.tasks.chatdev.sandbox._wrap import mechanisms

QUICK = ProgramLimits(wall_s=8)

CALL = "import ctypes\nprint(ctypes.CDLL(None).syscall({}))"
ATTACKS = {
    "memfd": "import os\nprint(os.memfd_create('x'))",
    "memfd by its number": CALL.format("319, b'x', 0"),
    "memfd in the second table": CALL.format("0x40000000 + 319, b'x', 0"),
    "secret memory": CALL.format("447, 0"),
    "System V": "import ctypes\nprint(ctypes.CDLL(None).shmget(0, 1 << 20, 0o1600))",
    "shared anonymous": "import mmap\nprint(mmap.mmap(-1, 1 << 20))",
    "shared zeros": "import mmap\nf = open('/dev/zero', 'r+b')\nprint(mmap.mmap(f.fileno(), 1 << 20))",
    "io_uring": CALL.format("425, 8, 0"),
    "AF_VSOCK": "import socket\nprint(socket.socket(40, socket.SOCK_STREAM))",
    "AF_VSOCK pair": "import socket\nprint(socket.socketpair(40, socket.SOCK_STREAM))",
    "in a child": """
import subprocess, sys
subprocess.run([sys.executable, '-c', 'import os; print(os.memfd_create("x"))'], check=True)
""",
}
ALLOWED = {
    "processes that share": """
import multiprocessing

def write(shared):
    shared[0] = 5

if __name__ == '__main__':
    shared = multiprocessing.Array('i', 3)
    process = multiprocessing.Process(target=write, args=(shared,))
    process.start()
    process.join()
    print(shared[0])
""",
    "a pair of sockets": "import socket\na, b = socket.socketpair()\na.send(b'5')\nprint(b.recv(1).decode())",
    "a mapped file": """
import mmap
file = open('f', 'w+b')
file.write(b'5' * 4096)
file.flush()
print(chr(mmap.mmap(file.fileno(), 4096)[0]))
""",
    "threads": "import concurrent.futures as c\nprint(sum(c.ThreadPoolExecutor(4).map(int, '11111')))",
    "sqlite": "import sqlite3\nprint(sqlite3.connect('x.db').execute('select 5').fetchone()[0])",
}


@pytest.fixture(params=["bwrap", "unshare"], autouse=True)
def mechanism(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Each mechanism in turn, as if the other were not installed."""
    name: str = request.param
    if name not in mechanisms():
        pytest.skip(f"{name} is not installed")
    monkeypatch.setattr(_run, "mechanisms", lambda: [name])
    require_sandbox.cache_clear()
    yield name
    require_sandbox.cache_clear()


@pytest.mark.parametrize("name", ATTACKS)
def test_memory_that_nobody_maps_and_other_ways_out_are_refused(name: str) -> None:
    outcome = run_program({"main.py": ATTACKS[name]}, limits=QUICK)
    assert outcome.stdout.strip() in ("", "-1") and not outcome.stopped


@pytest.mark.parametrize("name", ALLOWED)
def test_what_ordinary_programs_do_still_works(name: str) -> None:
    outcome = run_program({"main.py": ALLOWED[name]}, limits=QUICK)
    assert (outcome.stdout.strip(), outcome.stderr) == ("5", "")


def test_what_cannot_be_bounded_here_is_said_once(caplog: pytest.LogCaptureFixture, mechanism: str) -> None:
    from agenttts.environments.tasks.chatdev.sandbox._cgroup import parent_group

    with caplog.at_level(logging.WARNING, "agenttts"):
        require_sandbox()
        require_sandbox()
    told = [record.getMessage() for record in caplog.records if "cgroup" in record.getMessage()]
    assert len(told) == (parent_group() is None) and all(mechanism in each for each in told)


def test_a_kernel_without_filters_is_said_by_name(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_run, "filter_program", lambda: b"")
    with caplog.at_level(logging.WARNING, "agenttts"):
        require_sandbox()
    assert "cannot refuse programs here: memfd" in caplog.text
