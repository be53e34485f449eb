"""The code blocks of README and guides, and what a reader does with them, from the top of a page to its end.

The fence says what happens to a block:
    ```python              is run, as the file that `title="..."` names
    ```sh                  is run in bash, in one folder a page
    ```text                is what the `sh` block above it prints, `...` standing for what is left out
    ```sh title="needs"    is not run: it needs what the title says. Its commands are parsed, as are those in all other
                           blocks and in the text.
"""

from __future__ import annotations

import re
import runpy
import shlex
import subprocess
import sys
from collections.abc import Iterator
from itertools import dropwhile, groupby
from pathlib import Path
from string import Template
from typing import NamedTuple

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"
DOCS = ROOT / "docs"
PAGES = [README, *sorted(DOCS.rglob("*.md"))]

_FENCE = re.compile(r'^```(\w*)(?: title="(.*?)")?\n(.*?)^```$', re.M | re.S)
_SHELL = f"""set -euo pipefail
agenttts() {{ {shlex.quote(sys.executable)} -c 'from agenttts.cli import main; main()' "$@"; }}
"""


class Block(NamedTuple):
    """A fenced block of a page."""

    language: str
    title: str
    code: str


def blocks(page: Path) -> list[Block]:
    """A page's blocks in their order."""
    return [Block(*found) for found in _FENCE.findall(page.read_text())]


def follow(page: Path) -> None:
    """Do in the current folder what a page says; AssertionError where it prints something else than the page."""
    printed = ""
    for number, (language, title, code) in enumerate(blocks(page)):
        if language == "python":
            file = Path(title or f"block_{number}.py")
            file.write_text(code)
            runpy.run_path(str(file))
        elif language == "sh" and not title:
            printed = _run(code)
        elif language == "text":
            missing = [line for line in code.splitlines() if line != "..." and line not in printed]
            assert not missing, f"{page.name} shows {missing}, and its command printed\n{printed}"


def _run(code: str) -> str:
    done = subprocess.run(["bash", "-c", _SHELL + code], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, f"{code}\n{done.stdout}{done.stderr}"
    return done.stdout


def commands(page: Path) -> Iterator[list[str]]:
    """The arguments of every `agenttts ...` of a page, in blocks and in the text."""
    for block in blocks(page):
        if block.language != "python":
            known = dict(re.findall(r'^(\w+)="(.*)"$', block.code, re.M))
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
