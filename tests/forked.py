"""`agenttts` in processes of their own that need not import what it uses: forks of one process that has imported it.

Most of what a short command takes is Python's start and its imports, and the tests run hundreds of them. The command
line itself is imported anew in each.
"""

from __future__ import annotations

import gc
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any, NoReturn

ROOT = Path(__file__).parent.parent
IMPORTED = (
    "agenttts.agent", "agenttts.baselines", "agenttts.deployment", "agenttts.report", "agenttts.searching",
    "aiohttp", "alembic.command", "langgraph.graph", "openai", "optuna", "rich.console", "sqlalchemy.orm", "typer",
)  # fmt: skip
_LONGEST_S = 120


class Forks:
    """The process whose forks run commands, started with the first of them."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None

    def run(
        self, arguments: Sequence[str], folder: Path, variables: Mapping[str, str]
    ) -> subprocess.CompletedProcess[str]:
        """Run `agenttts` with these arguments in a folder, under these environment variables and no others."""
        if self._process is None:
            command = [sys.executable, "-m", "tests.forked"]
            self._process = subprocess.Popen(
                command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
            )
        assert self._process.stdin is not None and self._process.stdout is not None
        with tempfile.TemporaryDirectory() as kept:
            asked = {"arguments": list(arguments), "folder": str(folder), "variables": dict(variables), "kept": kept}
            print(json.dumps(asked), file=self._process.stdin, flush=True)
            code = int(self._process.stdout.readline())
            out, err = ((Path(kept) / name).read_text("utf-8") for name in ("out", "err"))
        return subprocess.CompletedProcess(list(arguments), code, out, err)

    def close(self) -> None:
        """End the process."""
        if self._process is not None:
            self._process.communicate()


def _serve() -> None:
    """Fork for every line of the standard input, and answer with the exit code."""
    for name in IMPORTED:
        import_module(name)
    gc.freeze()  # what the forks share is not looked through in each
    for line in sys.stdin:
        forked = os.fork()
        if not forked:
            _become(json.loads(line))
        print(os.waitstatus_to_exitcode(os.waitpid(forked, 0)[1]), flush=True)


def _become(asked: Mapping[str, Any]) -> NoReturn:
    """The command, as `python -c 'from agenttts.cli import main; main()' ...` would be."""
    signal.alarm(_LONGEST_S)
    os.chdir(asked["folder"])
    os.environ.clear()
    os.environ.update(asked["variables"])
    names = (os.devnull, *(os.path.join(asked["kept"], name) for name in ("out", "err")))
    for descriptor, (name, flags) in enumerate(zip(names, (os.O_RDONLY, *[os.O_WRONLY | os.O_CREAT] * 2), strict=True)):
        opened = os.open(name, flags)
        os.dup2(opened, descriptor)
        os.close(opened)
    sys.stdin, sys.stdout, sys.stderr = (open(number, "w" if number else "r", encoding="utf-8") for number in range(3))  # noqa: SIM115
    sys.argv, sys.path[0] = ["-c", *asked["arguments"]], ""
    sys.modules["__main__"] = ModuleType("__main__")
    from agenttts.cli import main

    main()
    sys.exit()


if __name__ == "__main__":
    _serve()
