"""Programs that must not outlive this process: how they are started, and what they said last."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path

_KEEPER = Path(__file__).with_name("_keeper.py")
"""Run by its path: it needs nothing of ours, and is there at once."""
_AT_ONCE = 2**16
_LINES = 200
_SHOWN = 300


def kept_command(pipe: int, command: Sequence[str]) -> list[str]:
    """The command that runs another one, until it ends or a pipe closes.

    Args:
        pipe: Number of the file from which the pipe is read; 0 is standard input, which the program then has not.
        command: The other.
    """
    return [sys.executable, "-I", "-S", str(_KEEPER), str(pipe), *command]


async def ended(process: asyncio.subprocess.Process) -> int:
    """Wait until a program has ended, and return its exit code; what it has left on standard output is dropped.

    Before Python 3.13 `Process.wait` waits for the end of its pipes, too, and output that nobody reads has none.
    """
    dropping = asyncio.create_task(_dropped(process.stdout))
    try:
        return await process.wait()
    finally:
        dropping.cancel()


async def _dropped(output: asyncio.StreamReader | None) -> None:
    while output is not None and await output.read(_AT_ONCE):
        pass


def last_words(said: str) -> str:
    """The last complaint in what a program wrote, else its last line."""
    lines = [line.strip() for line in said.splitlines()[-_LINES:] if line.strip()]
    complaints = [line for line in lines if "Error" in line and "Traceback" not in line]
    return (complaints or lines or ["it said nothing"])[-1][-_SHOWN:]
