"""Examples evaluated by the workers of a Ray cluster, or of a local one.

Every worker is a Ray actor that builds the environment anew, by its name, and opens the same store: a sample that one
worker has paid for, all have, and it is in the store before the driver hears of it. So a lost worker costs what
it was waiting for, and no more: others run its examples again, which find their samples in the pool (and wait for the
lost worker's claims to expire, 20 seconds at most), and Ray starts it anew as soon as a machine is free. A driver that
is run again resumes from the store, as without Ray.

Limits on spending: a worker is told with every example what the search had spent by then, hears from the store with
whatever it pays for what all have paid, and requests nothing that would pass the limit. So a limit is passed by at most
what is in flight on the others at that moment.

A worker waits for an endpoint as long as the driver's own client would (`--give-up-after`, time-outs, retries), and
where a bound on requests under way is given (`--max-in-flight`), all workers together keep it. What a worker waits for
it cannot show: the driver says when no example has come back for a while.

Keys are no part of what travels: workers take them from their own environment variables.
"""

from __future__ import annotations

import asyncio
import logging
import math
import os
import socket
from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

from agenttts._util.extras import imported
from agenttts.environments.live import LiveEnvironment
from agenttts.environments.ray_worker import ExampleOrder, RayWorker, WorkerSource
from agenttts.environments.scored import ExampleOutcome, evaluation_of
from agenttts.errors import ConfigError, EndpointError
from agenttts.execution.pool import SamplePool
from agenttts.llm.lanes import MAX_IN_FLIGHT
from agenttts.llm.openai import OpenAIClient
from agenttts.llm.prefix_cache import CacheUse
from agenttts.llm.pulse import Pulse
from agenttts.protocols import Environment
from agenttts.space.allocation import Allocation
from agenttts.study.evaluation import Evaluation

LOCAL = "local"
"""The address of a cluster that is this machine, started and stopped with the search."""
IN_FLIGHT = MAX_IN_FLIGHT
"""Examples that one worker runs at once: its client sends as many requests at once as that of a search without Ray."""
_LIVES = 3
"""How often a worker is started again, and an example run again, before it is given up."""
_NEWS_S = 1.0
"""After which all workers of a lost machine are known to be lost: an example is not to try one after another."""
_TIMEOUT_S = 5.0
_HTTP2_SETTINGS = b"\x04"
"""Type of the frame that both sides of a connection begin with (RFC 9113, 3.4)."""
_HTTP2_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(3) + _HTTP2_SETTINGS + bytes(5)


@dataclass
class _WorkerSession:
    """What an environment and its labelled copy share while they are entered."""

    pulse: Pulse
    """When an example last came back."""
    users: int = 0
    free: asyncio.Queue[Any] = field(default_factory=asyncio.Queue)
    """A worker once for each example that it may take now; None when no worker is left."""
    places: int = 0
    """How many such places there are, free or not."""
    lost: set[Any] = field(default_factory=set)
    """Workers that Ray has not started anew yet."""
    returning: set[asyncio.Task[None]] = field(default_factory=set)


class RayEnvironment(Environment):
    """An environment whose examples are run by Ray workers while it is entered.

    Args:
        searched: The environment that is searched; its models must be at endpoints that every worker reaches.
        address: HOST:PORT of a running Ray cluster that this machine is part of, or `LOCAL`.
        store: Path or URL of the search's store; PostgreSQL where the cluster has several machines.
        name: What the environment was found by (`environments.environment`).
        data: Its data.
        endpoints: Model name -> base URL.
        workers: How many; one for each free CPU of the cluster when None.

    Raises:
        ConfigError: When Ray is not installed or does not answer, or the environment or the store cannot be shared.
    """

    def __init__(
        self,
        searched: Environment,
        address: str,
        *,
        store: str,
        name: str,
        data: str | None = None,
        endpoints: Mapping[str, str] | None = None,
        workers: int | None = None,
    ) -> None:
        client = searched.client if isinstance(searched, LiveEnvironment) and searched.endpoints else None
        if not (isinstance(searched, LiveEnvironment) and isinstance(client, OpenAIClient)):
            raise ConfigError(
                f"environment {searched.name!r} brings its own models or asks none: Ray spreads the examples of an "
                "environment whose models are at endpoints; leave --ray out"
            )
        if address != LOCAL:
            _require_answer(address)
        self._searched, self._address, self._workers = searched, address, workers
        self.name, self.pipeline, self.recorded = searched.name, searched.pipeline, searched.recorded
        self.examples, self.held_out = searched.examples, searched.held_out
        self.default_budget, self.embedder = searched.default_budget, searched.embedder
        self._source = WorkerSource(
            name, data, dict(endpoints or {}), os.getcwd(), _shareable(store), client.patience, client.max_in_flight
        )
        # Workers give endpoints up; that an example takes long is no fault by itself.
        self._session = _WorkerSession(Pulse(f"the Ray cluster {address}", math.inf))

    @property
    def fingerprints(self) -> Mapping[str, str]:
        """Those of what is searched."""
        return self._searched.fingerprints

    @property
    def uncovered(self) -> tuple[str, ...]:
        """That of what is searched."""
        return self._searched.uncovered

    @property
    def endpoints(self) -> Mapping[str, str]:
        """Those of what is searched."""
        return self._searched.endpoints

    @property
    def waiting(self) -> str:
        """See `protocols.Environment.waiting`."""
        return self._session.pulse.notice

    async def prefix_caches(self) -> Mapping[str, CacheUse]:
        """Those of what is searched."""
        return await self._searched.prefix_caches()

    async def evaluate(
        self, allocation: Allocation, examples: Sequence[str] | None = None, *, pool: SamplePool | None = None
    ) -> Evaluation:
        """See `protocols.Environment.evaluate`; the pool is the search's, which every worker opens for itself.

        Raises:
            ConfigError: Without a pool: what the workers sample is kept in a store.
        """
        if pool is None:
            raise ConfigError("the workers of a Ray cluster keep their samples in a store: hand the search's pool in")
        names = self.examples if examples is None else examples
        return await evaluation_of(self.pipeline, allocation, names, lambda name: self._run(allocation, name, pool))

    async def __aenter__(self) -> RayEnvironment:
        """Enter the environment, connect, and start the workers; once for all who enter."""
        session = self._session
        entered = await self._searched.__aenter__()
        if not session.users:
            try:
                self._start_workers()
            except BaseException:
                await self._searched.__aexit__(None, None, None)
                raise
        session.users += 1
        if entered is self._searched:
            return self
        labelled = copy(self)
        labelled._searched, labelled.pipeline, labelled.recorded = entered, entered.pipeline, entered.recorded
        return labelled

    def _start_workers(self) -> None:
        ray = _connected(self._address, self._workers)
        try:
            self._require_reachable_store(sum(node["Alive"] for node in ray.nodes()))
            count = self._workers or int(ray.available_resources().get("CPU", 0))
            if count < 1:
                raise ConfigError(f"the Ray cluster {self._address} has no free CPU: wait for one, or add a machine")
            options = {"max_restarts": _LIVES, "max_concurrency": IN_FLIGHT, "num_cpus": 1}
            actor = ray.remote(**options)(RayWorker)
            sources = _shared_out(self._source, count)
            actors = [actor.remote(source) for source in sources]
            _require_start(ray, actors)
        except BaseException:
            ray.shutdown()
            raise
        for _ in range(IN_FLIGHT):  # a turn for each worker, then the next: all get work before any gets much
            for each in actors:
                self._session.free.put_nowait(each)
        self._session.places = self._session.free.qsize()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        import ray

        session = self._session
        session.users -= 1
        if not session.users:
            for waiting in session.returning:
                waiting.cancel()
            await asyncio.gather(*session.returning, return_exceptions=True)
            session.pulse.close()
            ray.shutdown()
        await self._searched.__aexit__(kind, error, trace)

    def _require_reachable_store(self, machines: int) -> None:
        if machines > 1 and self._source.store.startswith("sqlite"):
            raise ConfigError(
                f"a Ray cluster of {machines} machines cannot share a SQLite file: give --store postgresql://..."
            )

    async def _run(self, allocation: Allocation, example: str, pool: SamplePool) -> ExampleOutcome:
        """One example, on the worker that is free first; on the next where that is lost."""
        for _ in range(_LIVES + 1):
            async with self._session.pulse.waited_for("the next example"):
                outcome = await self._run_once(allocation, example, pool)
            if outcome is not None:
                self._session.pulse.answered()
                pool.meter.add(outcome.spend)
                return outcome
        raise EndpointError(f"Ray has lost the worker of example {example!r} {_LIVES + 1} times")

    async def _run_once(self, allocation: Allocation, example: str, pool: SamplePool) -> ExampleOutcome | None:
        """None where the worker is lost."""
        from ray.exceptions import RayActorError, RayTaskError

        meter, lost = pool.meter, False
        while (worker := await self._session.free.get()) in self._session.lost:
            self._wait_for(worker)
        if worker is None:
            self._session.free.put_nowait(None)  # the other tasks that wait must hear of it, too
            raise EndpointError(f"Ray has lost every worker, each {_LIVES + 1} times")
        order = ExampleOrder(
            allocation,
            example,
            self._searched.fingerprint,
            pool.study_id,
            pool.namespace,
            meter.max_tokens,
            meter.max_usd,
            meter.spent,
        )
        try:
            outcome: ExampleOutcome = await worker.run.remote(order)
            return outcome
        except RayTaskError as error:
            raise error.cause from None
        except RayActorError:
            lost = True
            self._session.lost.add(worker)
            await asyncio.sleep(_NEWS_S)
            return None
        finally:
            self._wait_for(worker) if lost else self._session.free.put_nowait(worker)

    def _wait_for(self, worker: Any) -> None:
        returning = asyncio.create_task(self._return(worker))
        self._session.returning.add(returning)
        returning.add_done_callback(self._session.returning.discard)

    async def _return(self, worker: Any) -> None:
        """Give a lost worker its place back when Ray has started it anew; that may wait for a free machine."""
        from ray.exceptions import RayActorError

        try:
            await worker.answer.options(max_task_retries=-1).remote()
            self._session.lost.discard(worker)
            self._session.free.put_nowait(worker)
        except RayActorError:  # it is lost for good
            self._session.places -= 1
            if not self._session.places:
                self._session.free.put_nowait(None)


def _require_start(ray: Any, actors: Sequence[Any]) -> None:
    """That every worker's machine has the code."""
    try:
        ray.get([each.answer.remote() for each in actors])
    except ray.exceptions.RayActorError as error:
        reason = str(error).strip().splitlines()[-1]
        raise ConfigError(
            f"a worker of the Ray cluster cannot be started ({reason}): install the same agenttts on all machines"
        ) from error


def _shared_out(source: WorkerSource, workers: int) -> list[WorkerSource]:
    """One for each worker, with its share of the requests under way; no more workers than there are requests."""
    most = source.max_in_flight
    if most is None:
        return [source] * workers
    count = min(workers, most)
    return [source._replace(max_in_flight=(most + place) // count) for place in range(count)]


def _shareable(store: str) -> str:
    """The store's URL as another process, in another folder, can open it."""
    if "://" not in store:
        return f"sqlite:///{Path(store).expanduser().resolve()}"
    if store.startswith("sqlite:"):
        raise ConfigError("with Ray, give the store as the path of a SQLite file or as a postgresql:// URL")
    return store


def _require_answer(address: str) -> None:
    """Ray itself waits for minutes, and says more than a sentence. Its clusters speak gRPC, and so HTTP/2."""
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit() or "/" in host:
        raise ConfigError(f"--ray takes HOST:PORT of a running cluster, or {LOCAL!r}, not {address!r}")
    try:
        with socket.create_connection((host, int(port)), timeout=_TIMEOUT_S) as connection:
            connection.sendall(_HTTP2_PREFACE)
            greeting = connection.recv(9)
    except (OSError, OverflowError) as error:
        raise ConfigError(f"no Ray cluster answers at {address}: start one with ray start --head") from error
    if greeting[3:4] != _HTTP2_SETTINGS:
        raise ConfigError(f"what answers at {address} is no Ray cluster: give the port of ray start --head (6379)")


def _connected(address: str, workers: int | None) -> Any:
    """The module, connected."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    ray: Any = imported("ray", "a search on Ray needs Ray", extra="ray")
    local = address == LOCAL
    try:
        ray.init(
            address=address,
            num_cpus=workers if local else None,
            include_dashboard=False if local else None,
            log_to_driver=False,
            logging_level=logging.ERROR,
        )
    except (RuntimeError, OSError, ValueError) as error:
        reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise ConfigError(f"the Ray cluster {address} cannot be used: {reason}") from error
    return ray
