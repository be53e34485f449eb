"""One process of a command: given an example, it answers."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from agenttts._util.keeping import ended, kept_command, last_words
from agenttts._util.strict_json import read_json
from agenttts._util.text import storable, storable_data
from agenttts.errors import CommandFailed, ConfigError
from agenttts.execution.commands.proxy import AskedSteps, StepAddresses
from agenttts.pipeline import Command, Example
from agenttts.pipeline.handles import StepRun

_MOST_OUTPUT = 2**20
"""Bytes of one answer."""
_MOST_SAID = 64 * 1024
"""Bytes of what it writes to standard error that are kept, the last ones."""
_SIGNALLED = 128
"""What a shell, and a keeper, adds to the number of a signal."""
_LISTEN_S = 1.0
_GONE = (BrokenPipeError, ConnectionResetError)


class CommandProcess:
    """A process of a command, with an address for each step.

    Args:
        command: What is run.
        steps: Names of the pipeline's subtasks.
    """

    def __init__(self, command: Command, steps: Sequence[str]) -> None:
        self._command = command
        self._addresses = StepAddresses(steps)
        self._process: Any = None
        self._lifeline = -1
        self._listening: asyncio.Task[None] | None = None
        self._said = bytearray()

    @property
    def is_up(self) -> bool:
        """Whether it can be given an example."""
        return self._process is not None and self._process.returncode is None

    async def _start(self) -> None:
        program = self._command.arguments[0]
        if shutil.which(program) is None:
            raise ConfigError(f"the command's program {program!r} was not found: install it, or give its path")
        await self._addresses.start()
        pipe, self._lifeline = os.pipe()
        try:
            self._process = await asyncio.create_subprocess_exec(
                *kept_command(pipe, self._command.arguments),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                env={**os.environ, **self._addresses.variables},
                pass_fds=(pipe,),
                # A terminal's interrupt reaches the whole group: this process decides when it stops.
                start_new_session=True,
                limit=_MOST_OUTPUT,
            )
        finally:
            os.close(pipe)
        self._listening = asyncio.create_task(self._listen())

    async def end(self) -> None:
        """End it, with all that it has started."""
        if self._lifeline >= 0:
            os.close(self._lifeline)
            self._lifeline = -1
        if self._process is not None:
            await ended(self._process)
        if self._listening is not None:
            self._listening.cancel()
        await self._addresses.stop()

    async def answer(self, example: Example, steps: Mapping[str, StepRun]) -> Any:
        """What it answers to an example; it is started where it is not up.

        Raises:
            CommandFailed: When that is nothing, for whatever reason.
            ConfigError: When there is no such program, or the example is no JSON.
        """
        question, asked, failure = _question(example), AskedSteps(steps), None
        with self._addresses.answering(asked):  # a program need not read its example before it asks
            if not self.is_up:
                await self._start()
            try:
                answer = await self._in_time(question, asked)
            except CommandFailed as error:
                failure = error
        await asked.answered()
        if asked.failure is not None:
            raise self._as_its_own(asked.failure)
        if failure is not None:
            raise CommandFailed(f"{failure}{asked.told and f' (it had been told: {asked.told})'}") from failure
        return answer

    async def _in_time(self, question: bytes, asked: AskedSteps) -> Any:
        try:
            async with asked.own_time(self._command.timeout_s):
                return await (self._line(question) if self._command.keep else self._whole(question))
        except TimeoutError:
            raise self._failed(f"took longer than {self._command.timeout_s:g} s") from None

    def _as_its_own(self, error: Exception) -> Exception:
        return self._failed(str(error), said=False) if isinstance(error, CommandFailed) else error

    async def _whole(self, question: bytes) -> str:
        """Standard output, up to its end."""
        await self._tell(question)
        self._process.stdin.close()
        output = await _read(self._process.stdout)
        if len(output) > _MOST_OUTPUT:
            raise self._failed(f"printed more than {_MOST_OUTPUT:,} bytes")
        if await self._process.wait():
            raise await self._ended()
        try:
            text = output.decode().strip()
        except UnicodeDecodeError as error:
            raise self._failed("printed what is no UTF-8 text") from error
        if not text:
            raise self._failed("printed nothing")
        return storable(text)

    async def _line(self, question: bytes) -> Any:
        """The next line of standard output."""
        await self._require_silence()
        await self._tell(question)
        try:
            line = await self._process.stdout.readline()
        except ValueError as error:
            raise self._failed(f"printed more than {_MOST_OUTPUT:,} bytes") from error
        if not line.endswith(b"\n"):
            raise await self._ended()
        try:
            answer = read_json(line)
        except ValueError as error:
            raise self._failed(f"printed a line that is no JSON ({error})") from error
        if answer is None:
            raise self._failed("answered null")
        return answer

    async def _require_silence(self) -> None:
        """A line that is there before the question is no answer to it."""
        with suppress(TimeoutError):
            async with asyncio.timeout(0):
                if await self._process.stdout.read(1):
                    raise self._failed("printed more than one line for an example")

    async def _tell(self, question: bytes) -> None:
        with suppress(*_GONE):  # it may answer without reading, and may be gone, which its output will say
            self._process.stdin.write(question + b"\n")
            await self._process.stdin.drain()

    async def _listen(self) -> None:
        """Take in what it writes to standard error: a pipe that is full would stop it."""
        while part := await self._process.stderr.read(_MOST_SAID):
            self._said += part
            del self._said[:-_MOST_SAID]

    async def _ended(self) -> CommandFailed:
        code = await self._process.wait()
        if self._listening is not None:
            await asyncio.wait([self._listening], timeout=_LISTEN_S)
        return self._failed(_end_in_words(code))

    def _failed(self, what: str, *, said: bool = True) -> CommandFailed:
        words = f": {last_words(self._said.decode(errors='replace'))}" if said and self._said.strip() else ""
        return CommandFailed(f"command {self._command.text!r}: it {what}{words}")


def _question(example: Example) -> bytes:
    try:
        return json.dumps(storable_data(dict(example)), ensure_ascii=False, allow_nan=False).encode()
    except (TypeError, ValueError) as error:
        raise ConfigError(
            f"a command is given examples as JSON, which {example.get('id')!r} is not: {error}"
        ) from error


async def _read(stream: asyncio.StreamReader) -> bytes:
    """A whole stream, or as much of it as is too much."""
    found = bytearray()
    while len(found) <= _MOST_OUTPUT and (part := await stream.read(_MOST_OUTPUT)):
        found += part
    return bytes(found)


def _end_in_words(code: int) -> str:
    if code <= _SIGNALLED:
        return f"ended with exit status {code}"
    try:
        return f"was ended by signal {code - _SIGNALLED} ({signal.Signals(code - _SIGNALLED).name})"
    except ValueError:
        return f"ended with exit status {code}"
