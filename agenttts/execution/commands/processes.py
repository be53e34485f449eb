"""The processes of commands, by event loop: at most so many at once, and kept ones used again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any
from weakref import WeakKeyDictionary

from agenttts.execution.commands.process import CommandProcess
from agenttts.pipeline import Command, Example, StepRun


class _Processes:
    """Those of one command in one event loop."""

    def __init__(self, command: Command) -> None:
        self._command = command
        self._turns = asyncio.Semaphore(command.at_once)
        self._resting: list[CommandProcess] = []
        self._until_the_loop_ends: asyncio.Task[None] | None = None

    @asynccontextmanager
    async def one(self, steps: Mapping[str, StepRun]) -> AsyncIterator[CommandProcess]:
        """A process for one example; one that did not answer is not used again."""
        async with self._turns:
            process = await self._rested() or CommandProcess(self._command, tuple(steps))
            answered = False
            try:
                yield process
                answered = self._command.keep
            finally:
                if answered:
                    self._rest(process)
                else:
                    await process.end()

    async def end(self) -> None:
        """End those that rest."""
        resting, self._resting = self._resting, []
        await asyncio.gather(*(process.end() for process in resting))

    async def _rested(self) -> CommandProcess | None:
        while self._resting:
            process = self._resting.pop()
            if process.is_up:
                return process
            await process.end()
        return None

    def _rest(self, process: CommandProcess) -> None:
        self._resting.append(process)
        if self._until_the_loop_ends is None:
            self._until_the_loop_ends = asyncio.create_task(self._end_with_the_loop())

    async def _end_with_the_loop(self) -> None:
        try:
            await asyncio.Event().wait()
        finally:  # a loop cancels its tasks when it ends
            await self.end()


_OF_LOOPS: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[Any, _Processes]] = WeakKeyDictionary()


async def run_command(command: Command, example: Example, steps: Mapping[str, StepRun]) -> Any:
    """What a command answers to an example.

    Args:
        command: What is run.
        example: What it is given.
        steps: The handles of the pipeline's subtasks.

    Raises:
        CommandFailed: When it gives no answer, or asks what no step does.
        ConfigError: When there is no such program, or the example is no JSON.
    """
    known = _OF_LOOPS.setdefault(asyncio.get_running_loop(), {})
    processes = known.setdefault((command, tuple(steps)), _Processes(command))
    async with processes.one(steps) as process:
        return await process.answer(example, steps)


async def end_processes(command: Command | None) -> None:
    """End those of a command that are kept running in this event loop, and are not given an example just now."""
    for (known, _), processes in _OF_LOOPS.get(asyncio.get_running_loop(), {}).items():
        if known == command:
            await processes.end()
