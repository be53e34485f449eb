"""Runs a generated Python program in a sandbox and tells how it ended.

The program sees no network, no file of the host but the system's and the interpreter's (read-only), none of the
host's processes and none of its environment. Its folder is in memory and goes with it: nothing is written on the host
and nothing is read back but standard output and error. Wall time, CPU time, memory, processes, files and output are
capped, and with the sandbox every process in it ends. Standard input is open and silent.

bubblewrap builds the sandbox where it is installed and works, else `unshare` and our own mounts (`_wrap`); where
neither works nothing is run. Memory that no process maps (memfd, System V segments, shared anonymous memory) and
sockets to a virtual machine's host are refused by the kernel (`_filter`). Memory that the kernel itself holds for a
program (in pipes and sockets) is bounded where this process may make a cgroup (`_cgroup`); where it may not, and where
a filter does not work, `require_sandbox` says so once. Not covered: flaws of the kernel; programs that use a window or
a microphone fail here as on any server.
"""

from __future__ import annotations

import asyncio
import fcntl
import json
import logging
import os
import selectors
import signal
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from agenttts.environments.tasks.chatdev.sandbox._cgroup import bounded, joining, parent_group, ran_out
from agenttts.environments.tasks.chatdev.sandbox._filter import filter_program
from agenttts.environments.tasks.chatdev.sandbox._wrap import mechanisms, wrapped
from agenttts.errors import ConfigError

_log = logging.getLogger(__name__)
_MIB = 2**20
_POLL_S = 0.05
_PROBE = """
import ctypes, os, socket
print("ready")
tries = {
    "memfd": lambda: os.memfd_create("probe"),
    "AF_VSOCK": lambda: socket.socket(40, socket.SOCK_STREAM),
    "System V segments": lambda: ctypes.CDLL(None).shmget(0, 4096, 0o1600) + 1 or 1 / 0,
}
for name, attempt in tries.items():
    try:
        attempt()
        print(name)
    except Exception:  # refused, in whatever way, as it should be
        pass
"""
"""Prints what works though it should not."""
_ENVIRONMENT = {
    "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME": "/tmp",
    "LANG": "C.UTF-8",
    "PYTHONHASHSEED": "0",  # the same program is to end in the same way
}


@dataclass(frozen=True, kw_only=True)
class ProgramLimits:
    """What a program may use."""

    wall_s: float = 10
    """Seconds by the clock."""
    cpu_s: int = 10
    """Of each process."""
    memory_bytes: int = 512 * _MIB
    """Address space of each process, and resident memory of all of them."""
    processes: int = 32
    """Threads included."""
    output_bytes: int = 64 * 1024
    """Standard output and standard error together."""
    disk_bytes: int = 32 * _MIB
    """Of files that it may write."""


@dataclass(frozen=True, kw_only=True)
class ProgramOutcome:
    """How a program ended."""

    exit_code: int | None
    """128 + n when signal n ended it; None when it was stopped."""
    stdout: str
    """What it printed, cut at the limit."""
    stderr: str
    """Its error output, cut at the limit."""
    stopped: str = ""
    """The limit at which it was stopped: "wall time", "memory", "output"; empty when it ended by itself."""


def run_program(
    files: Mapping[str, str], *, main: str = "main.py", limits: ProgramLimits | None = None
) -> ProgramOutcome:
    """Run `python main` in a folder with these files.

    Args:
        files: Relative path -> text.
        main: The file to run.
        limits: What it may use.

    Raises:
        ConfigError: When the machine has no working sandbox, or a path leads out of the folder.
    """
    for name in files:
        if not _is_inside(name):
            raise ConfigError(f"the program's file {name!r} is not a relative path inside its folder")
    return _run(require_sandbox(), files, main, limits or ProgramLimits())


async def execute(
    files: Mapping[str, str], *, main: str = "main.py", limits: ProgramLimits | None = None
) -> ProgramOutcome:
    """As `run_program`, in a thread; as many at once as there are processors."""
    return await asyncio.get_running_loop().run_in_executor(
        _workers(), lambda: run_program(files, main=main, limits=limits)
    )


@lru_cache
def require_sandbox() -> str:
    """The mechanism that works on this machine.

    Raises:
        ConfigError: When none does.
    """
    reasons = []
    for mechanism in mechanisms():
        outcome = _run(mechanism, {"main.py": _PROBE}, "main.py", ProgramLimits())
        ready, *left = outcome.stdout.splitlines() or [""]
        if ready == "ready":
            _tell_limits(mechanism, left)
            return mechanism
        reasons.append(f"{mechanism}: {(outcome.stderr.strip().splitlines() or [outcome.stopped])[-1]}")
    raise ConfigError(
        "generated programs run only in a sandbox, and none works here: install bubblewrap, or allow unprivileged user "
        f"namespaces ({'; '.join(reasons) or 'neither bwrap nor unshare was found'})"
    )


def _tell_limits(mechanism: str, left: Sequence[str]) -> None:
    """Say once what the sandbox does not bound on this machine."""
    if left:
        _log.warning("the sandbox (%s) cannot refuse programs here: %s", mechanism, ", ".join(left))
    if parent_group() is None:
        _log.warning(
            "the sandbox (%s) may make no cgroup v2 here: memory that the kernel holds for a program, in pipes and "
            "sockets, is not bounded",
            mechanism,
        )


def _is_inside(name: str) -> bool:
    path = PurePosixPath(name)
    return bool(path.parts) and not path.is_absolute() and ".." not in path.parts and "\0" not in name


@lru_cache
def _workers() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(os.cpu_count(), thread_name_prefix="sandbox")


def _run(mechanism: str, files: Mapping[str, str], main: str, limits: ProgramLimits) -> ProgramOutcome:
    job = {"files": dict(files), "main": main, "filter": filter_program().hex(), **asdict(limits)}
    with (
        tempfile.TemporaryDirectory(prefix="agenttts-sandbox-") as place,
        _sealed(json.dumps(job) + "\n") as given,
        bounded(limits.memory_bytes + limits.disk_bytes) as group,
    ):
        with subprocess.Popen(
            joining(group, wrapped(mechanism, place, limits.disk_bytes)),
            stdin=given,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=_ENVIRONMENT,
            start_new_session=True,
        ) as process:
            try:
                outcome = _watch(process, limits)
                return replace(outcome, exit_code=None, stopped="memory") if ran_out(group) else outcome
            finally:
                _end(process)


def _sealed(text: str) -> BinaryIO:
    """A file in memory that nobody can write to: whatever the sandbox is handed, the program can find and open."""
    file = os.fdopen(os.memfd_create("job", os.MFD_ALLOW_SEALING), "w+b")
    file.write(text.encode("utf-8", "replace"))
    file.seek(0)
    fcntl.fcntl(file, fcntl.F_ADD_SEALS, fcntl.F_SEAL_WRITE | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SHRINK)
    return file


def _watch(process: subprocess.Popen[bytes], limits: ProgramLimits) -> ProgramOutcome:
    """Collect output until the program ends or passes a limit."""
    deadline, stopped = time.monotonic() + limits.wall_s, ""
    assert process.stdout is not None and process.stderr is not None
    texts = {process.stdout.fileno(): bytearray(), process.stderr.fileno(): bytearray()}
    with selectors.DefaultSelector() as selector:
        for descriptor in texts:
            selector.register(descriptor, selectors.EVENT_READ)
        while not stopped and (selector.get_map() or process.poll() is None):  # it may close its output and go on
            for key, _ in selector.select(_POLL_S):
                chunk = os.read(key.fd, 65536)
                texts[key.fd] += chunk
                if not chunk:
                    selector.unregister(key.fd)
            stopped = _passed(process.pid, sum(map(len, texts.values())), deadline, limits)
    stdout, stderr = (bytes(text[: limits.output_bytes]).decode("utf-8", "replace") for text in texts.values())
    return ProgramOutcome(exit_code=None if stopped else process.wait(), stdout=stdout, stderr=stderr, stopped=stopped)


def _passed(pid: int, output_bytes: int, deadline: float, limits: ProgramLimits) -> str:
    """The limit that the sandbox is over; empty while there is none."""
    if output_bytes > limits.output_bytes:
        return "output"
    if time.monotonic() > deadline:
        return "wall time"
    return "memory" if _resident_bytes(pid) > limits.memory_bytes else ""


def _resident_bytes(pid: int) -> int:
    """Memory of a process and its descendants, program code and other file pages left out."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
        children = [path.read_text().split() for path in Path(f"/proc/{pid}/task").glob("*/children")]
    except OSError:  # it has just ended
        return 0
    own = sum(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith(("RssAnon", "RssShmem")))
    return own + sum(_resident_bytes(int(child)) for of_thread in children for child in of_thread)


def _end(process: subprocess.Popen[bytes]) -> None:
    """End the sandbox: with its first process the kernel ends all others."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        return
