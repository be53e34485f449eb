"""llama.cpp servers for GGUF files, one child process per model, on free loopback ports.

A child serves until its standard input closes. The parent holds the other end, so the children end with it however
it ends, a kill -9 included.
"""

from __future__ import annotations

import asyncio
import os
import platform
import sys
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager, nullcontext
from pathlib import Path

from agenttts._util.extras import installed
from agenttts._util.hints import install
from agenttts._util.keeping import ended
from agenttts.errors import ConfigError, EndpointError

_START_TIMEOUT_S = 60.0


class LlamaCppServing:
    """Serves GGUF files through llama.cpp (the PyPI package xllamacpp).

    Args:
        models: Served name -> GGUF file.
        slots: Sequences that a server generates at once, and the most choices it returns per request.
        context: Tokens per slot.
        threads: CPU threads per server.
    """

    takes_turns = False
    """See `base.Serving.takes_turns`."""

    def __init__(self, models: Mapping[str, Path], *, slots: int = 16, context: int = 512, threads: int = 1) -> None:
        self._models = dict(models)
        self._slots, self._context, self._threads = slots, context, threads
        self._children: list[asyncio.subprocess.Process] = []

    async def start(self) -> dict[str, str]:
        """See `base.Serving.start`."""
        if not installed("xllamacpp"):
            raise ConfigError(
                f"local models need llama.cpp: {install('local')} (its wheels exist for Linux, macOS and "
                f"Windows on x86-64 and arm64; this is {platform.system()} on {platform.machine()})"
            )
        for path in self._models.values():
            if not path.is_file():
                raise ConfigError(f"there is no model file {str(path)!r}")
        try:
            for name, path in self._models.items():
                self._children.append(await self._spawn(name, path))
            urls = await asyncio.gather(*map(_url, self._models, self._children))
        except BaseException:
            await self.stop()  # whatever stopped the start, an interrupt too, must not leave servers running
            raise
        return dict(zip(self._models, urls, strict=True))

    async def _spawn(self, name: str, path: Path) -> asyncio.subprocess.Process:
        # Spinning OpenMP threads of several servers on few cores slow one another down by an order of magnitude.
        env = {**os.environ, "OMP_WAIT_POLICY": "passive", "GOMP_SPINCOUNT": "0"}
        arguments = [str(path), name, str(self._slots), str(self._context), str(self._threads)]
        return await asyncio.create_subprocess_exec(
            sys.executable, "-m", "agenttts.serving._llamacpp_child", *arguments,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            env=env,
            # A terminal's interrupt reaches the whole group: the parent decides when its servers stop.
            start_new_session=True,
        )  # fmt: skip

    async def stop(self) -> None:
        """See `base.Serving.stop`."""
        children, self._children = self._children, []
        for child in children:
            if child.returncode is None:
                child.kill()  # it holds nothing that could be lost, and may be in the middle of a long generation
        await asyncio.gather(*map(ended, children))

    def turn(self, served_name: str) -> AbstractAsyncContextManager[None]:
        """See `base.Serving.turn`: all models are up at once."""
        return nullcontext()

    def gpus(self, served_name: str) -> int:
        """See `base.Serving.gpus`: they run on the CPU."""
        return 1


async def _url(name: str, child: asyncio.subprocess.Process) -> str:
    """The base URL of a server, as soon as it answers there."""
    if child.stdout is None:
        raise EndpointError(f"the llama.cpp server of {name!r} has no output to read its address from")
    try:
        async with asyncio.timeout(_START_TIMEOUT_S):
            line = (await child.stdout.readline()).decode().strip()
    except TimeoutError as error:
        raise EndpointError(f"the llama.cpp server of {name!r} was not up after {_START_TIMEOUT_S:g} s") from error
    if not line.startswith("http"):
        raise EndpointError(f"the llama.cpp server of {name!r} did not start: {line or 'it ended at once'}")
    return f"{line}/v1"
