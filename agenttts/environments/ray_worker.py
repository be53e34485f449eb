"""What runs in the process of a Ray worker: an environment of its own, on the store that all workers share.

The driver's part is `environments.ray`.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections import defaultdict
from collections.abc import Mapping
from contextlib import AsyncExitStack
from typing import NamedTuple

from agenttts.db import Store
from agenttts.environments.live import LiveEnvironment
from agenttts.environments.registry import environment
from agenttts.environments.scored import ExampleOutcome
from agenttts.errors import ConfigError
from agenttts.execution.meter import Meter
from agenttts.execution.pool import SamplePool
from agenttts.llm.asking import Patience
from agenttts.llm.openai import OpenAIClient
from agenttts.llm.samples import Spend
from agenttts.space.allocation import Allocation


class WorkerSource(NamedTuple):
    """What a worker builds the environment from: the arguments of `environments.environment`, and where it is run."""

    name: str
    data: str | None
    endpoints: Mapping[str, str]
    folder: str
    """The driver's working directory: names and data may be relative to it."""
    store: str
    patience: Patience
    """How long the driver's client waits for an endpoint."""
    max_in_flight: int | None
    """Requests under way at once, over all workers; None bounds those of each, as without Ray."""


class ExampleOrder(NamedTuple):
    """One example to run."""

    allocation: Allocation
    example: str
    fingerprint: str
    """Of the driver's environment: the worker's must be the same."""
    study_id: int | None
    namespace: str
    max_tokens: int | None
    max_usd: float | None
    spent: Spend


class RayWorker:
    """What runs in a worker's process: an environment of its own, on the shared store."""

    def __init__(self, source: WorkerSource) -> None:
        self._source = source
        self._preparing = asyncio.Lock()
        self._environment: LiveEnvironment | None = None
        self._stack = AsyncExitStack()
        self._meters: defaultdict[int | None, Meter] = defaultdict(Meter)
        """Study -> what it has paid for."""
        self._pools: dict[tuple[int | None, str], SamplePool] = {}

    async def answer(self) -> None:
        """Show that this worker is there."""

    async def run(self, order: ExampleOrder) -> ExampleOutcome:
        """One example; errors are the environment's own."""
        async with self._preparing:
            environment = self._environment or await self._prepare(order)
        meter = self._meters[order.study_id]
        meter.max_tokens, meter.max_usd = order.max_tokens, order.max_usd
        meter.hear(order.spent)
        return await environment.run_example(order.allocation, order.example, self._pool(order))

    def _pool(self, order: ExampleOrder) -> SamplePool:
        """One for all examples: they wait for one another where they draw the same."""
        place = order.study_id, order.namespace
        if place not in self._pools:
            self._pools[place] = SamplePool(
                self._store.samples,
                study_id=order.study_id,
                namespace=order.namespace,
                meter=self._meters[order.study_id],
            )
        return self._pools[place]

    async def _prepare(self, order: ExampleOrder) -> LiveEnvironment:
        """The environment, entered. It is built with the first example: what it raises is then told in its words."""
        where = f"the Ray worker on {socket.gethostname()}"
        try:
            os.chdir(self._source.folder)
        except OSError as error:
            raise ConfigError(
                f"{where} has no folder {self._source.folder!r}: search from one that all machines have"
            ) from error
        self._store = Store(self._source.store)
        built = environment(self._source.name, data=self._source.data, endpoints=self._source.endpoints)
        assert isinstance(built, LiveEnvironment) and isinstance(built.client, OpenAIClient)
        built.client.patience = self._source.patience
        built.client.wait(max_in_flight=self._source.max_in_flight)
        entered = await self._stack.enter_async_context(built)
        assert isinstance(entered, LiveEnvironment)
        if entered.fingerprint != order.fingerprint:
            raise ConfigError(
                f"{where} has another environment {self._source.name!r} than this process: install the same code and "
                "data on all machines"
            )
        self._environment = entered
        return entered
