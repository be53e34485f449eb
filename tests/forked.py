"""`agenttts` in processes of their own that need not import what it uses: forks of one process that has imported it.

Most of what a short command takes is Python's start and its imports, and the tests run hundreds of them. The command
line itself is imported anew in each. `python -I -S tests/forked.py SOCKET ARGUMENTS` asks for one from a shell: it has
the shell's folder, variables and streams.
"""

from __future__ import annotations

import array
import json
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence

_IMPORTED = (
    "agenttts.agent", "agenttts.baselines", "agenttts.deployment", "agenttts.report", "agenttts.searching",
    "aiohttp", "alembic.command", "langgraph.graph", "openai", "optuna", "rich.console", "sqlalchemy.orm", "typer",
)  # fmt: skip
_LONGEST_S = 900
_STREAMS = 3


class Forks:
    """The process whose forks run commands, started with the first of them."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._folder = tempfile.TemporaryDirectory()

    @property
    def socket(self) -> str:
        """Where commands are asked for."""
        path = f"{self._folder.name}/socket"
        if self._process is None:
            root = os.path.dirname(os.path.dirname(__file__))
            command = [sys.executable, "-m", "tests.forked", path]
            self._process = subprocess.Popen(command, cwd=root, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
            assert self._process.stdout is not None and self._process.stdout.readline() == b"ready\n"
        return path

    def run(
        self, arguments: Sequence[str], folder: str, variables: Mapping[str, str]
    ) -> subprocess.CompletedProcess[str]:
        """Run `agenttts` with these arguments in a folder, under these environment variables and no others."""
        with open(os.devnull) as nothing, tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
            streams = [each.fileno() for each in (nothing, out, err)]
            code = ask(self.socket, arguments, folder, variables, streams)
            for each in (out, err):
                each.seek(0)
            return subprocess.CompletedProcess(list(arguments), code, out.read(), err.read())

    def close(self) -> None:
        """End the process."""
        if self._process is not None:
            self._process.terminate()
            self._process.communicate()
        self._folder.cleanup()


def ask(path: str, arguments: Sequence[str], folder: str, variables: Mapping[str, str], streams: Sequence[int]) -> int:
    """The exit code of a command with these three streams."""
    with socket.socket(socket.AF_UNIX) as asking:
        asking.connect(path)
        kept = (socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", streams))
        asking.sendmsg([b"0"], [kept])
        asking.sendall(json.dumps([list(arguments), folder, dict(variables)]).encode())
        asking.shutdown(socket.SHUT_WR)
        return int(asking.recv(16))


def _serve(path: str) -> None:
    """Fork for every connection."""
    import gc
    import signal
    from importlib import import_module

    for name in _IMPORTED:
        import_module(name)
    gc.freeze()  # what the forks share is not looked through in each
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(path)
        listening.listen()
        print("ready", flush=True)
        while True:
            connection, _ = listening.accept()
            if not os.fork():
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                listening.close()
                return _answer(connection)
            connection.close()


def _answer(connection: socket.socket) -> None:
    """Become the command that is asked for, and leave behind a process that tells its exit code."""
    size = array.array("i").itemsize * _STREAMS
    _, ((_, _, sent),), *_ = connection.recvmsg(1, socket.CMSG_SPACE(size))
    streams = array.array("i", sent[:size])
    with connection.makefile() as asked:
        arguments, folder, variables = json.load(asked)
    if command := os.fork():
        code = os.waitstatus_to_exitcode(os.waitpid(command, 0)[1])
        connection.sendall(str(code).encode())
        os._exit(0)
    connection.close()
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    _become(arguments, folder, variables)


def _become(arguments: Sequence[str], folder: str, variables: Mapping[str, str]) -> None:
    """The command, as `python -c 'from agenttts.cli import main; main()' ...` would be."""
    import signal
    from types import ModuleType

    signal.alarm(_LONGEST_S)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(variables)
    sys.stdin, sys.stdout, sys.stderr = (
        open(number, "w" if number else "r", buffering=1 if os.isatty(number) or number == 2 else -1, encoding="utf-8")  # noqa: SIM115
        for number in range(_STREAMS)
    )
    sys.argv, sys.path[0] = ["-c", *arguments], ""
    sys.modules["__main__"] = ModuleType("__main__")
    from agenttts.cli import main

    main()


if __name__ == "__main__":
    if len(sys.argv) == 2 and not sys.flags.isolated:
        _serve(sys.argv[1])
    else:
        sys.exit(ask(sys.argv[1], sys.argv[2:], os.getcwd(), os.environ, range(_STREAMS)))
