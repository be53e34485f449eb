"""A control group (cgroup v2) for each sandbox, where this process may make one: it bounds kernel memory too.

That takes a cgroup v2 file system in which the memory controller is delegated to this process's group, as systemd does
for a service with `Delegate=yes`, and no other process in that group. Where it is not so, nothing is changed.
"""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path

_SLACK = 64 * 2**20
"""Bytes for the interpreter's own pages and the kernel's."""
_ENDED_S = 2.0


@lru_cache
def parent_group() -> Path | None:
    """The group in which groups with a bound on memory can be made; None where there is none."""
    try:
        mounts = [line.split() for line in Path("/proc/self/mounts").read_text().splitlines()]
        lines = Path("/proc/self/cgroup").read_text().splitlines()
        own = next(line[3:] for line in lines if line.startswith("0::"))
        root = next(Path(fields[1]) for fields in mounts if fields[2] == "cgroup2")
        parent = root / own.lstrip("/")
        if "memory" not in (parent / "cgroup.subtree_control").read_text().split():
            (parent / "cgroup.subtree_control").write_text("+memory")
        with _group(parent, 2**30):
            return parent
    except (OSError, StopIteration):
        return None


@contextmanager
def bounded(memory_bytes: int) -> Iterator[Path | None]:
    """A group of its own with this much memory, files in memory included; None where none can be made."""
    parent = parent_group()
    if parent is None:
        yield None
        return
    with _group(parent, memory_bytes + _SLACK) as group:
        yield group


def joining(group: Path | None, command: list[str]) -> list[str]:
    """The command, run inside a group."""
    if group is None:
        return command
    return ["/bin/sh", "-c", 'echo $$ > "$0"; exec "$@"', str(group / "cgroup.procs"), *command]


def ran_out(group: Path | None) -> bool:
    """Whether a group's memory was not enough."""
    if group is None:
        return False
    with suppress(OSError):
        events = dict(line.split() for line in (group / "memory.events").read_text().splitlines())
        return int(events.get("oom_kill", 0)) > 0
    return False


@contextmanager
def _group(parent: Path, memory_bytes: int) -> Iterator[Path]:
    group = parent / f"agenttts-sandbox-{os.getpid()}-{secrets.token_hex(4)}"
    group.mkdir()
    try:
        (group / "memory.max").write_text(str(memory_bytes))
        with suppress(OSError):  # a kernel without swap has no such file
            (group / "memory.swap.max").write_text("0")
        yield group
    finally:
        _remove(group)


def _remove(group: Path) -> None:
    with suppress(OSError):
        (group / "cgroup.kill").write_text("1")
    deadline = time.monotonic() + _ENDED_S
    while True:
        try:
            group.rmdir()
            return
        except OSError:
            if time.monotonic() > deadline:
                return
            time.sleep(0.01)
