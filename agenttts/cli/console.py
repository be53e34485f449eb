"""The one way out to the terminal: consoles, lines and log records, all of them `printable`.

In a terminal lines wrap at words, in a pipe they stay whole. Nothing else in the package prints (a test walks its
code). A stream whose encoding lacks a character shows its escape instead of ending the command.
"""

from __future__ import annotations

import json
import logging
import os
import shlex
import shutil
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterable
from contextlib import suppress
from io import TextIOWrapper
from itertools import chain
from typing import Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

from agenttts._util.text import printable, without_keys
from agenttts.llm.endpoint import shown_url

_PIPE_WIDTH = 10_000
"""A pipe has no width: its lines stay whole."""


class _SafeConsole(Console):
    """Lets no text through that is not printable, whatever it is part of: a table, a live line, a title."""

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """As rich does; its own control sequences are kept apart from text, and stay."""
        for segment in super().render(renderable, options):
            yield segment if segment.control else segment._replace(text=printable(segment.text))


def open_console(*, stderr: bool = False, quiet: bool = False) -> Console:
    """A console that prints text as it is, made printable: no markup, no emoji, no highlighting."""
    escape_unencodable()
    console = _SafeConsole(stderr=stderr, quiet=quiet, highlight=False, markup=False, emoji=False)
    if not console.is_terminal:
        console.width = _PIPE_WIDTH
    return console


def open_closed() -> None:
    """Give a process that was started without standard output or error one that leads nowhere."""
    sys.stdout = sys.stdout or open(os.devnull, "w", encoding="utf-8")
    sys.stderr = sys.stderr or open(os.devnull, "w", encoding="utf-8")


def discard_output() -> None:
    """Let standard output lead nowhere, what is still to be written to it included."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)


def leave_threads(code: int) -> None:
    """End at once where blocking calls of the user's are still under way in threads: Python would wait for them."""
    others = [thread for thread in threading.enumerate() if thread is not threading.main_thread()]
    if any(not thread.daemon for thread in others):
        with suppress(OSError):
            sys.stdout.flush()
        os._exit(code)


def escape_unencodable() -> None:
    """Let standard output and error show what their encoding lacks as an escape."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def write_line(text: str, *, stderr: bool = False, end: str = "\n") -> None:
    """Write a text and the end of its last line, however long it is, without wrapping.

    Errors, logs and tracebacks, all on standard error, may quote keys that others' code was given.
    """
    escape_unencodable()
    stream = sys.stderr if stderr else sys.stdout
    stream.write(f"{printable(without_keys(text) if stderr else text)}{end}")
    stream.flush()


def write_paged(*parts: Iterable[str]) -> None:
    """Write printable lines: through the user's pager ($PAGER) in a terminal, else as they come."""
    pager = os.environ.get("PAGER", "").strip() or shutil.which("less")
    if not (pager and sys.stdout.isatty()):
        for line in chain(*parts):
            write_line(line)
        return
    with subprocess.Popen(pager, shell=True, stdin=subprocess.PIPE, text=True, errors="backslashreplace") as process:
        assert process.stdin is not None
        with suppress(BrokenPipeError):  # it has been quit before the end
            for line in chain(*parts):
                process.stdin.write(f"{printable(line)}\n")
        with suppress(BrokenPipeError):
            process.stdin.close()


def write_json_list(rows: Iterable[Any]) -> None:
    """Write plain data as a JSON list, row by row: however many there are, one is in memory."""
    before = "["
    for row in rows:
        write_line(f"{before}\n{textwrap.indent(as_json_text(row), '  ')}", end="")
        before = ","
    write_line("[]" if before == "[" else "\n]")


class LogHandler(logging.Handler):
    """Log records on standard error, printable."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write one record."""
        try:
            write_line(self.format(record), stderr=True)
        except Exception:  # as every handler of logging does: a line that cannot be written ends no search
            self.handleError(record)


def print_wrapped(console: Console, line: str, *, indent: int = 0) -> None:
    """Print a line, wrapped at words, the lines that follow indented."""
    text = textwrap.fill(
        line,
        console.width,
        subsequent_indent=" " * indent,
        replace_whitespace=False,
        break_long_words=False,
        break_on_hyphens=False,
    )
    console.print(text, soft_wrap=True)


def print_pair(console: Console, first: str, second: str, *, gap: int, indent: int) -> None:
    """Print two texts on one line, or on two where that is too narrow."""
    fits = len(first) + gap + len(second) <= console.width
    console.print(first + (" " * gap if fits else "\n" + " " * indent) + second, soft_wrap=True)


def show(data: Any, renderable: RenderableType, as_json: bool) -> None:
    """Print plain data as JSON, or what a person reads of it."""
    if as_json:
        write_line(as_json_text(data))
    else:
        open_console().print(renderable)


def as_json_text(data: Any) -> str:
    """Plain data as JSON, in ASCII."""
    return json.dumps(data, indent=2, allow_nan=False).replace("\x7f", "\\u007f")


def command_line() -> str:
    """The command that this process was given, as it may be kept."""
    return shlex.join(["agenttts", *map(_without_secrets, sys.argv[1:])])


def _without_secrets(argument: str) -> str:
    """A command-line argument as it may be kept: of a URL, neither user nor query."""

    option, separator, value = argument.partition("=") if argument.startswith("--") else ("", "", argument)
    return f"{option}{separator}{shown_url(value)}" if "://" in value else argument
