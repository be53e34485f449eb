"""Commands that a message tells its reader to run: as they work where this process was started.

A clone's `.venv/bin/agenttts` is not on the path, and what was installed from a folder or a repository is not the
package of that name on the index. Paths are shown relative to the current folder where they lie in it.
"""

from __future__ import annotations

import json
import shlex
import shutil
import sys
from importlib.metadata import PackageNotFoundError, distribution
from importlib.util import find_spec
from os.path import samefile
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

_PROGRAM = "agenttts"


def program() -> str:
    """What starts the command line here: `agenttts`, or the path of that script where it is not on the path."""
    started = Path(sys.argv[0])
    script = started if started.stem == _PROGRAM else Path(sys.executable).with_name(_PROGRAM)
    return _PROGRAM if _on_path(script) or not script.is_file() else _path(script)


def install(extra: str, *, upgrade: bool = False) -> str:
    """The command that installs an extra of this package, from where the package itself came.

    Args:
        extra: Its name in pyproject.toml.
        upgrade: Whether what is there already is to be replaced by what is newer.

    Example:
        >>> "[report]" in install("report")
        True
    """
    return f"{_pip()} {'-U ' if upgrade else ''}{_requirement(extra)}"


def _pip() -> str:
    python = Path(sys.executable)
    if _on_path(python.with_name("pip")):
        return "pip install"
    if find_spec("pip") is None and shutil.which("uv"):  # an environment that uv made
        return f"uv pip install --python {_path(python)}"
    return f"{_path(python)} -m pip install"


def _requirement(extra: str) -> str:
    """This package with an extra, as pip takes it; by PEP 610, whatever is not from an index says where it is from."""
    origin = _origin()
    url, version_control = origin.get("url", ""), origin.get("vcs_info")
    if "dir_info" in origin:
        folder = Path(unquote(urlsplit(url).path))
        editable = "-e " if origin["dir_info"].get("editable") else ""
        return editable + shlex.quote(f"{'.' if folder == Path.cwd() else folder}[{extra}]")
    if version_control:
        url = f"{version_control['vcs']}+{url}@{version_control['commit_id']}"
    return shlex.quote(f"{_PROGRAM}[{extra}] @ {url}" if url else f"{_PROGRAM}[{extra}]")


def _origin() -> dict[str, Any]:
    try:
        written = distribution(_PROGRAM).read_text("direct_url.json")
    except PackageNotFoundError:  # run from a folder on PYTHONPATH
        written = None
    return dict(json.loads(written)) if written else {}


def _on_path(script: Path) -> bool:
    """Whether a script's name alone starts it."""
    found = shutil.which(script.name)
    return found is not None and script.is_file() and samefile(found, script)


def _path(file: Path) -> str:
    """A program's path, as a shell starts it."""
    absolute, here = file.absolute(), Path.cwd()
    shown = str(absolute.relative_to(here)) if absolute.is_relative_to(here) else str(absolute)
    return shlex.quote(shown if "/" in shown else f"./{shown}")
