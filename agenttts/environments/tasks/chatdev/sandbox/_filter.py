"""The system calls that a program in the sandbox may not make, as a seccomp filter (classic BPF).

They are those that get around the other limits: memory that no process maps and so none is charged for (memfd, System V
segments, anonymous memory that is shared), sockets to the host of a virtual machine (AF_VSOCK, which no network
namespace covers), io_uring, which can do all of these unseen, and calls of another architecture's table.
"""

from __future__ import annotations

import platform
import struct
from typing import NamedTuple


class _Table(NamedTuple):
    """Where an architecture's calls are."""

    arch: int
    refused: tuple[int, ...]
    """memfd_create, memfd_secret, shmget, io_uring_setup."""
    sockets: tuple[int, ...]
    """socket, socketpair."""
    mmap: int


_TABLES = {
    "x86_64": _Table(0xC000003E, (319, 447, 29, 425), (41, 53), 9),
    "aarch64": _Table(0xC00000B7, (279, 447, 194, 425), (198, 199), 222),
}
_X32 = 0x40000000
"""From here on are the calls of x86-64's second table."""
_AF_VSOCK = 40
_SHARED_ANONYMOUS = 0x21
_LOAD, _AND, _EQUAL, _AT_LEAST, _RETURN = 0x20, 0x54, 0x15, 0x35, 0x06
_ALLOW, _EPERM = 0x7FFF0000, 0x00050001
_NUMBER, _ARCH, _FIRST, _FOURTH = 0, 4, 16, 40
"""Offsets in what the kernel shows a filter: the call, its architecture, two of its arguments."""


def filter_program() -> bytes:
    """The filter for this machine; empty on an architecture that has no table here."""
    table = _TABLES.get(platform.machine())
    return b"" if table is None else b"".join(_program(table))


def _program(table: _Table) -> list[bytes]:
    allow, refuse = _step(_RETURN, _ALLOW), _step(_RETURN, _EPERM)
    steps = [_step(_LOAD, _ARCH), _step(_EQUAL, table.arch, 1, 0), refuse, _step(_LOAD, _NUMBER)]
    steps += [_step(_AT_LEAST, _X32, 0, 1), refuse]
    for number in table.refused:
        steps += [_step(_EQUAL, number, 0, 1), refuse]
    for number in table.sockets:
        steps += [_step(_EQUAL, number, 0, 4), _step(_LOAD, _FIRST), _step(_EQUAL, _AF_VSOCK, 0, 1), refuse, allow]
    steps += [_step(_EQUAL, table.mmap, 0, 5), _step(_LOAD, _FOURTH), _step(_AND, _SHARED_ANONYMOUS)]
    return [*steps, _step(_EQUAL, _SHARED_ANONYMOUS, 0, 1), refuse, allow, allow]


def _step(code: int, operand: int, if_true: int = 0, if_false: int = 0) -> bytes:
    return struct.pack("HBBI", code, if_true, if_false, operand)
