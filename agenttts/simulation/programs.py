"""The programs that ChatDev's virtual models write: real ones, a function for each part of the description.

A draft is written as `main.py` and read back from the program in a prompt. Its parts are the clauses of the
description; a part may be absent, a gap (`pass  # TODO`), or written; and the program may have a bug that ends it with
a traceback as soon as it is run.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from agenttts.environments.tasks.chatdev.files import MAIN, written

BUGS: Mapping[str, str] = {
    "summary": "summarise(entries)",
    "first entry": "print(entries[0])",
    "settings": "print(SETTINGS['theme'])",
}
"""What a bug is about -> the line that fails."""

_CLAUSE = re.compile(r"[.,;:!?()\n]+|\band\b")
_WORD = re.compile(r"[A-Za-z]{3,}")
_SMALL_WORDS = frozenset(
    "the that this with for from and are can has have its it's they them their users user will also such each into "
    "allows allow application software program system tool other more which your you may not all any".split()
)
_NAME_WORDS = 2
_SHOWN_WORDS = 3
_PART = re.compile(r"^def part_(\d+)\w*\(entries\):\n(.*?)(?=^\S|\Z)", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Draft:
    """What matters of a program."""

    written: frozenset[int]
    """Parts that are there, by their place in the description."""
    gaps: frozenset[int] = frozenset()
    """Of these, those left unwritten."""
    bug: str = ""
    """One of `BUGS`, if any."""


@lru_cache(maxsize=1024)
def parts_of(description: str) -> Sequence[str]:
    """The clauses of a description that have a word worth a function."""
    clauses = (" ".join(clause.split()) for clause in _CLAUSE.split(description))
    return [clause for clause in clauses if _words(clause)] or ["show"]


def render(draft: Draft, parts: Sequence[str]) -> str:
    """The reply that writes this program."""
    functions = [_function(place, parts[place], gap=place in draft.gaps) for place in sorted(draft.written)]
    calls = [f"    {_name(place, parts[place])}(entries)" for place in sorted(draft.written)]
    bug = [f"    {BUGS[draft.bug]}"] if draft.bug else []
    main = "\n".join(["def main():", "    entries = []", *calls, *bug, "    print(len(entries), 'entries')"])
    text = "\n\n\n".join([*functions, main, "if __name__ == '__main__':\n    main()"])
    return written({MAIN: text})


def read(program: str) -> Draft:
    """The draft that a program in a prompt was written from."""
    found = {int(place): body for place, body in _PART.findall(program)}
    gaps = frozenset(place for place, body in found.items() if "pass  # TODO" in body)
    bug = next((name for name, line in BUGS.items() if f"    {line}\n" in program), "")
    return Draft(frozenset(found), gaps, bug)


def _function(place: int, clause: str, *, gap: bool) -> str:
    if gap:
        return f"def {_name(place, clause)}(entries):\n    pass  # TODO"
    shown = " ".join(re.findall(r"[A-Za-z]+", clause)[:_SHOWN_WORDS]).lower()
    return "\n".join(
        [
            f"def {_name(place, clause)}(entries):",
            f"    entry = {{'number': len(entries) + 1, 'text': {shown!r}}}",
            "    entries.append(entry)",
            "    for each in entries[-3:]:",
            "        print(each['number'], each['text'])",
            "    return entry",
        ]
    )


def _name(place: int, clause: str) -> str:
    return "_".join([f"part_{place}", *_words(clause)[:_NAME_WORDS]])


def _words(clause: str) -> list[str]:
    return [word.lower() for word in _WORD.findall(clause) if word.lower() not in _SMALL_WORDS]
