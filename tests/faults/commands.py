"""`agenttts` run in this process, with standard output and error of an encoding of one's choice."""

from __future__ import annotations

import io
import shlex
import sys
from typing import NamedTuple

import pytest

from agenttts.cli import main


class Ended(NamedTuple):
    """How a command ended, and what it wrote."""

    code: int
    out: str
    err: str


def run(command: str, monkeypatch: pytest.MonkeyPatch, *, encoding: str = "utf-8") -> Ended:
    """Run a command to its end."""
    streams = [io.TextIOWrapper(io.BytesIO(), encoding=encoding) for _ in range(2)]
    with monkeypatch.context() as patch:
        patch.setattr(sys, "argv", ["agenttts", *shlex.split(command)])
        patch.setattr(sys, "stdout", streams[0])
        patch.setattr(sys, "stderr", streams[1])
        try:
            main()
            code = 0
        except SystemExit as end:
            code = int(end.code or 0)
    texts = []
    for stream in streams:
        stream.flush()
        stream.seek(0)
        texts.append(stream.read())
    return Ended(code, *texts)
