"""What a person sees in a terminal: a real one, of a given width."""

from __future__ import annotations

import fcntl
import os
import re
import struct
import termios
import threading
from collections.abc import Callable, Sequence

import pytest

from tests.cli.conftest import PIPELINE, SEARCH, Shell
from tests.endpoint import FakeEndpoint

PATIENCE_S = 60.0
"""Before a search whose status is never drawn fails the test."""
NAME = "a-study-whose-name-is-long-but-stays-whole"


def in_terminal(
    shell: Shell,
    command: str,
    width: int,
    *,
    watch: Callable[[list[str]], None] = lambda lines: None,
    **variables: str,
) -> list[str]:
    """Every line that the command has shown, those that were drawn over included; `watch` is told as they come."""
    master, slave = os.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 40, width, 0, 0))
    with shell.start(command, stdout=slave, stderr=slave, variables={"TERM": "xterm", **variables}):
        os.close(slave)
        written = b""
        while piece := read(master):
            written += piece
            watch(lines_of(written))
    os.close(master)
    return lines_of(written)


def lines_of(written: bytes) -> list[str]:
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", written.decode(errors="ignore"))
    return [line.rstrip() for line in re.split(r"[\r\n]+", plain) if line.strip()]


def read(master: int) -> bytes:
    try:
        return os.read(master, 65536)
    except OSError:  # how Linux says that the other end is closed
        return b""


@pytest.mark.parametrize("width", [80])
def test_a_search_and_its_lists_fit_the_terminal(shell: Shell, endpoint: FakeEndpoint, width: int) -> None:
    status = re.compile(r"best 0\.\d+ \(0\.\d+ to 0\.\d+\) .* paid for, .* reused \| .* left$")
    shown = threading.Event()

    def reply(messages: Sequence[dict[str, str]], seed: int) -> str:
        """On held-out examples, not before the status has been drawn: however busy the host, there is one to draw."""
        if re.search("q[567]", messages[-1]["content"]):
            shown.wait(PATIENCE_S)
        return f"text{seed}"

    def watch(lines: list[str]) -> None:
        if any(map(status.search, lines)):
            shown.set()

    endpoint.reply = reply
    lines = in_terminal(shell, f"{SEARCH} --study {NAME}", width, watch=watch)
    commands = [line for line in lines if line.startswith(("See why:", "Keep it:"))]
    assert len(commands) == 2  # whole, for copying
    assert all(len(line) <= width for line in lines if line not in commands)
    assert shown.is_set()
    for command, whole in (
        ("studies", NAME),
        ("trials", "small x3"),
        ("trials", "95 % interval"),
        ("frontier", "expected"),
    ):
        listed = in_terminal(shell, command, width)
        assert all(len(line) <= width for line in listed)
        assert any(whole in line for line in listed)


def test_an_error_stands_alone(shell: Shell) -> None:
    shell.folder.joinpath("mine.py").write_text(PIPELINE.format(url="http://127.0.0.1:9/v1"))
    (line,) = in_terminal(shell, SEARCH, 200)
    assert line.startswith("error: cannot reach http://127.0.0.1:9/v1")
