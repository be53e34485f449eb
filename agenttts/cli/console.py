"""Consoles: in a terminal lines wrap at words, in a pipe they stay whole; and the command that they show."""

from __future__ import annotations

import json
import shlex
import sys
import textwrap
from typing import Any

from rich.console import Console, RenderableType

from agenttts.llm.endpoint import shown_url

_PIPE_WIDTH = 10_000
"""A pipe has no width: its lines stay whole."""


def open_console(*, stderr: bool = False, quiet: bool = False) -> Console:
    """A console that prints text as it is: no markup, no emoji, no highlighting."""
    console = Console(stderr=stderr, quiet=quiet, highlight=False, markup=False, emoji=False)
    if not console.is_terminal:
        console.width = _PIPE_WIDTH
    return console


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
        print(json.dumps(data, indent=2, allow_nan=False))
    else:
        open_console().print(renderable)


def command_line() -> str:
    """The command that this process was given, as it may be kept."""
    return shlex.join(["agenttts", *map(_without_secrets, sys.argv[1:])])


def _without_secrets(argument: str) -> str:
    """A command-line argument as it may be kept: of a URL, neither user nor query."""
    option, separator, value = argument.partition("=") if argument.startswith("--") else ("", "", argument)
    return f"{option}{separator}{shown_url(value)}" if "://" in value else argument
