"""Programs as models write them: each file's name on a line of its own, then the file in a fence."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import PurePosixPath

from agenttts.errors import ParseError

MAIN = "main.py"
_FILE = re.compile(
    r"(?:^[^\w\n`/.]*(?:[Ff]ile(?:name)?:?\s*)?[`*]*(?P<name>[\w./\\-]+\.\w+)[^\w\n]*\n\s*)?"
    r"^```[^\n]*\n(?P<text>.*?)^```[^\S\n]*$",
    re.MULTILINE | re.DOTALL,
)


def read_files(reply: str) -> dict[str, str]:
    """The files of a reply, path -> text; a fence without a name is main.py where it is the only one.

    Raises:
        ParseError: When there is no Python file, or a path leads out of the program's folder.
    """
    found = [(match["name"], match["text"]) for match in _FILE.finditer(reply)]
    if [name for name, _ in found] == [None]:
        found = [(MAIN, found[0][1])]
    files = {str(PurePosixPath(name)): text for name, text in found if name is not None}
    for name in files:
        if name.startswith("/") or ".." in PurePosixPath(name).parts or "\\" in name:
            raise ParseError(f"the file {name!r} is outside the program's folder")
    if not any(name.endswith(".py") for name in files):
        raise ParseError("no Python file")
    return files


def written(files: Mapping[str, str]) -> str:
    """The files as models are shown them, and are to write them."""
    return "\n\n".join(f"{name}\n```\n{text.rstrip()}\n```" for name, text in files.items())
