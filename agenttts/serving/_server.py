"""The life of one server: started, watched, started again when it crashes, put to sleep, stopped.

It runs under a keeper (`_util.keeping`) that ends it when this process ends, however that ends. That it is ours, and
not one that somebody else runs on the same port, is known by a mark that it tells and that cannot be guessed.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple
from urllib.error import HTTPError

from agenttts._util.keeping import kept_command, last_words
from agenttts.errors import AgentTTSError, ConfigError, EndpointError

MOST_RESTARTS = 3
_POLL_S, _ANSWER_S, _SWAP_S = 0.25, 5.0, 300.0
_TELL_S = 30.0
_LOCAL = urllib.request.build_opener(urllib.request.ProxyHandler({}))
"""A proxy has no part in asking this machine."""


class ServerCall(NamedTuple):
    """What a server is told to do, by POST."""

    path: str
    body: Mapping[str, Any] = {}


class ServerEngine(NamedTuple):
    """A program that serves models, and how its servers are asked."""

    name: str
    """As messages call it."""
    is_ours: Callable[[str, str], bool]
    """Whether the server at an address answers, and has this mark."""
    sleep: Sequence[ServerCall]
    """What frees its GPU memory, one after the other; the weights stay in the host's."""
    wake: ServerCall
    """What brings them back."""


def answer(asked: str | urllib.request.Request, timeout_s: float = _ANSWER_S) -> bytes:
    """What a server of this machine answers to a URL, or to a request.

    Raises:
        OSError: When it does not answer, or not with success.
    """
    try:
        with _LOCAL.open(asked, timeout=timeout_s) as reply:
            said: bytes = reply.read()
    except HTTPError as error:
        error.close()  # it holds the connection
        raise
    return said


class ServerProcess:
    """One server.

    Args:
        name: The model, as messages call it.
        command: What to run.
        engine: What it is a server of.
        mark: What only it can tell.
        port: Where it listens.
        variables: Its environment.
        log: File that its output is appended to.
        timeout_s: Seconds that it may take to come up.
        tell: Called with what happens, in a sentence.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        *,
        engine: ServerEngine,
        mark: str,
        port: int,
        variables: Mapping[str, str],
        log: Path,
        timeout_s: float,
        tell: Callable[[str], None],
    ) -> None:
        self.address = f"http://127.0.0.1:{port}"
        self._name, self._command, self._engine, self._mark = name, list(command), engine, mark
        self._variables, self._log, self._timeout_s, self._tell = dict(variables), log, timeout_s, tell
        self._process: asyncio.subprocess.Process | None = None
        self._wanted, self._settled = asyncio.Event(), asyncio.Event()
        self._failure: AgentTTSError | None = None
        self._sleeps = False
        self._watching: asyncio.Task[None] | None = None

    async def wake(self) -> None:
        """Start it, or wake it, and wait until it answers.

        Raises:
            EndpointError: When it does not come up.
        """
        self._wanted.set()
        if self._watching is None:
            self._watching = asyncio.create_task(self._watch())
        elif self._sleeps and self._settled.is_set() and self._failure is None:
            await self._post(self._engine.wake)
            self._sleeps = False
        await self.ready()

    async def sleep(self) -> None:
        """Free its GPU memory; the weights stay in the host's. One that does not obey is ended until it is woken."""
        self._wanted.clear()
        if self._sleeps:
            return
        try:
            for call in self._engine.sleep:
                await self._post(call)
            self._sleeps = True
        except EndpointError as error:
            self._tell(f"{self._name}: {error}; it is ended, and started again for its next turn")
            await self.pause()

    async def ready(self) -> None:
        """Wait until it answers.

        Raises:
            EndpointError: When it never will.
        """
        await self._settled.wait()
        if self._failure is not None:
            raise self._failure

    async def pause(self) -> None:
        """End it until it is woken."""
        self._wanted.clear()
        self._settled.clear()
        await self._end()

    async def stop(self) -> None:
        """End it for good."""
        if self._watching is not None:
            self._watching.cancel()
            await asyncio.gather(self._watching, return_exceptions=True)
            self._watching = None
        await self._end()

    async def _watch(self) -> None:
        """Start it whenever it is wanted and not there, until it has crashed too often."""
        crashes, was_up = 0, False
        while self._failure is None:
            await self._wanted.wait()
            try:
                process = await self._start()
                was_up = True
                self._settled.set()
                await process.wait()
                self._settled.clear()
            except AgentTTSError as error:
                if not was_up:  # it would do the same again
                    self._fail(error)
                    return
            if self._wanted.is_set():  # nobody has asked it to end
                crashes += 1
                if crashes > MOST_RESTARTS:
                    self._fail(self._error(f"crashed {crashes} times, and is given up"))
                else:
                    self._tell(f"{self._name}: its server crashed ({self._last_words()}); starting it again")

    def _fail(self, error: AgentTTSError) -> None:
        self._failure = error
        self._settled.set()

    async def _start(self) -> asyncio.subprocess.Process:
        """Spawn it and wait until it answers."""
        started = told = time.monotonic()
        self._tell(f"{self._name}: starting its server, log in {self._log}")
        process = self._process = await self._spawn()
        self._sleeps = False
        while not await asyncio.to_thread(self._answers):
            now = time.monotonic()
            if process.returncode is not None:
                raise self._error("did not start")
            if now - started > self._timeout_s:
                await self._end()
                raise self._error(f"was not up after {self._timeout_s:g} s")
            if now - told > _TELL_S:
                told = now
                self._tell(f"{self._name}: loading since {now - started:.0f} s")
            await asyncio.sleep(_POLL_S)
        self._tell(f"{self._name}: up after {time.monotonic() - started:.0f} s at {self.address}/v1")
        return process

    async def _spawn(self) -> asyncio.subprocess.Process:
        try:
            self._log.parent.mkdir(parents=True, exist_ok=True)
            with self._log.open("ab") as log:
                return await asyncio.create_subprocess_exec(
                    *kept_command(0, self._command),
                    stdin=asyncio.subprocess.PIPE,
                    stdout=log,
                    stderr=log,
                    env=self._variables,
                    # A terminal's interrupt reaches the whole group: this process decides when its servers stop.
                    start_new_session=True,
                )  # fmt: skip
        except OSError as error:
            raise ConfigError(f"cannot keep the server's log {str(self._log)!r}: {error.strerror}") from error

    async def _end(self) -> None:
        """Close the keeper's input, upon which it ends the server."""
        if self._process is not None and self._process.returncode is None:
            if self._process.stdin is not None:
                self._process.stdin.close()
            await self._process.wait()

    def _answers(self) -> bool:
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            return self._engine.is_ours(self.address, self._mark)
        return False

    async def _post(self, call: ServerCall) -> None:
        kind, body = {"Content-Type": "application/json"}, json.dumps(call.body).encode()
        request = urllib.request.Request(self.address + call.path, data=body, headers=kind, method="POST")
        try:
            await asyncio.to_thread(answer, request, _SWAP_S)
        except OSError as error:
            raise self._error(f"did not obey {call.path.partition('?')[0]} ({error})") from error

    def _error(self, what: str) -> EndpointError:
        return EndpointError(
            f"the {self._engine.name} server of {self._name!r} {what}: {self._last_words()} (log: {self._log})"
        )

    def _last_words(self) -> str:
        try:
            return last_words(self._log.read_text(encoding="utf-8", errors="replace"))
        except OSError:
            return "it left no log"
