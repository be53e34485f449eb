"""Servers for the models of a pipeline, one child process per model, on the GPUs found.

They listen on this machine only, and see only their own GPUs. Weights are a Hugging Face id (the model's
`served_name`) or a local folder. What differs between programs that serve is an `ServerEngine` and a command.
"""

from __future__ import annotations

import asyncio
import os
import socket
import uuid
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import cached_property
from pathlib import Path
from typing import ClassVar

from agenttts.errors import ConfigError
from agenttts.pipeline import Model, Pipeline
from agenttts.serving._server import ServerEngine, ServerProcess
from agenttts.serving.gpus import found_cards
from agenttts.serving.placement import GIB, Card, Placed, Placement, contexts, demand, place
from agenttts.serving.turns import Turns

_START_S = 1800.0
"""Weights of 140 GB come from a slow disk in that."""
_HOST_SHARE = 0.8


def _silent(_: str) -> None:
    """Tell nobody."""


class GpuServing(ABC):
    """Serves the models of a pipeline on this machine's GPUs.

    Args:
        pipeline: Whose models.
        elsewhere: Names of models that are served by others.
        weights: Model name -> folder or Hugging Face id; its `served_name` where there is none.
        cards: The GPUs; those found when None.
        context: Most tokens of one sequence; worked out from the pipeline when None.
        arguments: Further arguments of every server.
        port: Where the first server listens, the others after it; free ports when None.
        swaps: Whether models that do not fit at once may take turns.
        logs: Folder of the servers' logs; named after the engine when None.
        tell: Called with what happens, in a sentence.

    Raises:
        ConfigError: On weights of a model that the pipeline does not have.
    """

    engine: ClassVar[ServerEngine]
    """What serves."""

    def __init__(
        self,
        pipeline: Pipeline,
        *,
        elsewhere: Sequence[str] = (),
        weights: Mapping[str, str] | None = None,
        cards: Sequence[Card] | None = None,
        context: int | None = None,
        arguments: Sequence[str] = (),
        port: int | None = None,
        swaps: bool = True,
        logs: Path | None = None,
        tell: Callable[[str], None] = _silent,
    ) -> None:
        self._contexts = {
            model: context or tokens for model, tokens in contexts(pipeline).items() if model.name not in elsewhere
        }
        self._models = {model.name: model for model in self._contexts}
        self._weights = dict(weights or {})
        for name in self._weights:
            if name not in self._models:
                raise ConfigError(f"no model {name!r} to serve weights of; to serve are {', '.join(self._models)}")
        self._cards, self._arguments, self._port, self._swaps = cards, list(arguments), port, swaps
        self._logs, self._tell = logs or Path(f"{self.engine.name.lower()}-logs"), tell
        self._servers: dict[str, ServerProcess] = {}
        self.turns: Turns | None = None
        """The models that are awake, where not all are."""

    @property
    def takes_turns(self) -> bool:
        """See `base.Serving.takes_turns`."""
        return self.turns is not None

    @cached_property
    def cards(self) -> Sequence[Card]:
        """The GPUs that are planned with."""
        return self._cards if self._cards is not None else found_cards()

    @cached_property
    def placement(self) -> Placement:
        """Which model goes where.

        Raises:
            ConfigError: When there is no GPU, or too little memory.
        """
        demands = [
            demand(model, context, weights_bytes=_size_of(self.source(model)))
            for model, context in self._contexts.items()
        ]
        host = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / GIB * _HOST_SHARE
        return place(demands, self.cards, host_gib=host)

    async def start(self) -> dict[str, str]:
        """See `base.Serving.start`."""
        placement, program = self.placement, await asyncio.to_thread(self.program)
        if placement.shifts > 1 and not self._swaps:
            raise ConfigError(
                f"the models do not fit on the GPUs at once: `search --serve {self.engine.name.lower()}` swaps them, "
                "but servers for others to ask must all be awake; take more cards or fewer models"
            )
        ports = _ports(len(placement.placed), self._port)
        for placed, port in zip(placement.placed, ports, strict=True):
            self._servers[placed.demand.name] = self._server(placed, port, program)
        try:
            for shift in range(placement.shifts):
                if shift:
                    await self._rest(shift - 1)
                await self._rise(shift)
        except BaseException:
            await self.stop()  # whatever stopped the start, an interrupt too, must not leave servers running
            raise
        if placement.shifts > 1:
            self._awake = placement.shifts - 1
            self.turns = Turns(self._switch, self._awake)
        return {self._models[name].served_name: f"{each.address}/v1" for name, each in self._servers.items()}

    async def stop(self) -> None:
        """See `base.Serving.stop`."""
        servers, self._servers, self.turns = self._servers, {}, None
        await asyncio.gather(*(server.stop() for server in servers.values()))

    @asynccontextmanager
    async def turn(self, served_name: str) -> AsyncIterator[None]:
        """See `base.Serving.turn`."""
        placed = self._placed(served_name)
        if placed is None:
            yield  # it is served by others
        elif self.turns is None:
            await self._servers[placed.demand.name].ready()
            yield
        else:
            async with self.turns.turn(placed.shift):
                await self._servers[placed.demand.name].ready()
                yield

    def gpus(self, served_name: str) -> int:
        """See `base.Serving.gpus`."""
        placed = self._placed(served_name)
        return 1 if placed is None else len(placed.cards)

    def _placed(self, served_name: str) -> Placed | None:
        """Where a model is; None where it is served by others."""
        return next((p for p in self.placement.placed if self._models[p.demand.name].served_name == served_name), None)

    async def _switch(self, shift: int) -> None:
        await self._rest(self._awake)
        await self._rise(shift)
        self._awake = shift

    async def _rest(self, shift: int) -> None:
        """Free the GPUs for another shift."""
        sleeping = self.placement.swap == "sleep"
        servers = [self._servers[p.demand.name] for p in self.placement.placed if p.shift == shift]
        await asyncio.gather(*(each.sleep() if sleeping else each.pause() for each in servers))

    async def _rise(self, shift: int) -> None:
        servers = [self._servers[p.demand.name] for p in self.placement.placed if p.shift == shift]
        await asyncio.gather(*(each.wake() for each in servers))

    def source(self, model: Model) -> str:
        """Where a model's weights are."""
        return self._weights.get(model.name, model.served_name)

    def _server(self, placed: Placed, port: int, program: Sequence[str]) -> ServerProcess:
        model, mark = self._models[placed.demand.name], f"agenttts-{uuid.uuid4().hex}"
        sleeps = self.placement.swap == "sleep"
        command = [*program, *self.words(model, placed, mark=mark, port=port, sleeps=sleeps), *self._arguments]
        return ServerProcess(
            model.name,
            command,
            engine=self.engine,
            mark=mark,
            port=port,
            variables=self.variables(placed, sleeps=sleeps),
            log=self._logs / f"{model.name.replace('/', '--')}.log",
            timeout_s=_START_S,
            tell=self._tell,
        )

    @abstractmethod
    def program(self) -> list[str]:
        """What starts a server of the weights named after it.

        Raises:
            ConfigError: When there is none, or it is too old.
        """

    @abstractmethod
    def words(self, model: Model, placed: Placed, *, mark: str, port: int, sleeps: bool) -> list[str]:
        """The weights and arguments of one server, which is told apart by its mark."""

    def variables(self, placed: Placed, *, sleeps: bool) -> dict[str, str]:
        """The environment of one server."""
        shown = {"CUDA_DEVICE_ORDER": "PCI_BUS_ID", "CUDA_VISIBLE_DEVICES": ",".join(map(str, placed.cards))}
        return {**os.environ, **shown}

    def smallest_gib(self, placed: Placed) -> float:
        """Memory of the smallest of a server's cards."""
        return min(card.total_gib for card in self.cards if card.index in placed.cards)


def _size_of(source: str) -> float | None:
    """Bytes of the weights in a local folder; None where they are elsewhere."""
    files = list(Path(source).glob("*.safetensors")) if Path(source).is_dir() else []
    return float(sum(file.stat().st_size for file in files)) if files else None


def _ports(count: int, first: int | None) -> list[int]:
    """Ports that no program listens on.

    Raises:
        ConfigError: When one that was asked for is taken.
    """
    wanted = [0] * count if first is None else list(range(first, first + count))
    sockets: list[socket.socket] = []
    try:
        for port in wanted:
            sockets.append(socket.socket())
            sockets[-1].setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                sockets[-1].bind(("127.0.0.1", port))
            except OSError as error:
                raise ConfigError(
                    f"port {port} cannot be used ({error.strerror}): give another --port, from which on each of the "
                    f"{count} servers takes one"
                ) from error
        return [int(each.getsockname()[1]) for each in sockets]
    finally:
        for each in sockets:
            each.close()
