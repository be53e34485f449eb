"""Writing a pipeline to start from."""

from __future__ import annotations

import shlex
from importlib.resources import files
from pathlib import Path

from agenttts._util.hints import program
from agenttts.cli.console import open_console
from agenttts.errors import ConfigError

_IMPORTS = {
    "plain": (),
    "openai": (),
    "langgraph": ("from typing import TypedDict", "", "from langgraph.graph import END, START, StateGraph", ""),
    "dspy": ("import dspy", ""),
}
"""Before and after which the package itself is imported."""
_ADAPTERS = ("langgraph", "dspy")


def starter(kind: str) -> str:
    """The text of a pipeline file of this kind."""
    folder = files("agenttts.cli") / "starters"

    def part(name: str) -> str:
        return (folder / f"{name}.txt").read_text("utf-8")

    head, _, imported = part("head").rpartition("import agenttts as at\n")
    imports = ["\n".join((*_IMPORTS[kind], "import agenttts as at"))]
    if kind in _ADAPTERS:
        imports.append(f"from agenttts.adapters.{kind} import step_model")
    stages = "dspy_stages" if kind == "dspy" else "stages"
    body = [part(kind)] if kind == "plain" else [f"\n{part(kind)}\n", part(stages)]
    return f"{head}{chr(10).join(imports)}{imported}\n\n" + "\n".join([part("models"), *body, part("tail")])


def write_starter(file: Path, kind: str) -> None:
    """Write a pipeline file, and say what to do with it.

    Raises:
        ConfigError: When the file exists or cannot be written.
    """
    if file.suffix != ".py":
        raise ConfigError(f"the file {str(file)!r} must end in .py, so that it can be named as FILE:environment")
    try:
        with file.open("x", encoding="utf-8") as stream:
            stream.write(starter(kind))
    except FileExistsError as error:
        raise ConfigError(f"there is a file {str(file)!r} already: give another name") from error
    except OSError as error:
        raise ConfigError(f"cannot write {str(file)!r}: {error.strerror}") from error
    console, named = open_console(), shlex.quote(f"{file}:environment")
    console.print(f"wrote {file}", soft_wrap=True)
    console.print(f"Check it:   {program()} check {named}", soft_wrap=True)
    console.print(f"Search it:  {program()} search {named}", soft_wrap=True)
