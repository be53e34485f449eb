"""The addresses at which one process asks its steps."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from agenttts._util.strict_json import read_json
from agenttts.errors import AgentTTSError, CommandFailed, ConfigError
from agenttts.execution.completions import NAMED, StepRequest, named_step, refusal
from agenttts.pipeline.handles import StepRun

if TYPE_CHECKING:
    from aiohttp import web

LOCALHOST = "127.0.0.1"
_MOST_BODY = 32 * 2**20
"""Bytes of a request: images are long."""
_SECRET_BYTES = 16


@dataclass
class AskedSteps:
    """What a process asks while it is given one example."""

    steps: Mapping[str, StepRun]
    failure: Exception | None = None
    """The first request that no step could answer, or at which a function of the user's failed."""
    told: str = ""
    """Why the last request that was not answered was not."""
    _limit: asyncio.Timeout | None = None
    """Ends the time of the process's own, while that runs."""
    _left_s: float = 0.0
    _open: int = 0
    _idle: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self._idle.set()

    async def answered(self) -> None:
        """Wait for what is still being asked: it is paid for, and may say that a model is gone."""
        await self._idle.wait()

    @asynccontextmanager
    async def own_time(self, seconds: float) -> AsyncIterator[None]:
        """What the process may take, but for what it waits for models.

        Raises:
            TimeoutError: When it takes longer.
        """
        async with asyncio.timeout(seconds) as self._limit:
            try:
                yield
            finally:
                self._limit = None

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """The process waits for a model: its own time stands still."""
        now = asyncio.get_running_loop().time
        if not self._open and (limit := self._running) is not None:
            self._left_s = (limit.when() or now()) - now()
            limit.reschedule(None)
        self._open += 1
        self._idle.clear()
        try:
            yield
        finally:
            self._open -= 1
            if not self._open:
                self._idle.set()
                if (limit := self._running) is not None:
                    limit.reschedule(now() + self._left_s)

    @property
    def _running(self) -> asyncio.Timeout | None:
        return None if self._limit is None or self._limit.expired() else self._limit


class StepAddresses:
    """An OpenAI-compatible server on loopback, for one process.

    Args:
        steps: Names of the pipeline's subtasks.
    """

    def __init__(self, steps: Sequence[str]) -> None:
        self._names = tuple(steps)
        self._secret = secrets.token_urlsafe(_SECRET_BYTES)
        self._asked: AskedSteps | None = None
        self._runner: web.AppRunner | None = None
        self._port = 0

    async def start(self) -> None:
        """Listen on any free port."""
        from aiohttp import web

        app = web.Application(client_max_size=_MOST_BODY)
        app.router.add_post(f"/{self._secret}/steps/{{step}}/v1/chat/completions", self._answer)
        app.router.add_post(f"/{self._secret}/v1/chat/completions", self._answer)
        app.router.add_route("*", f"/{self._secret}/{{other:.*}}", self._answer)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.01)
        await self._runner.setup()
        await web.TCPSite(self._runner, LOCALHOST, 0).start()
        self._port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        """Answer nothing any more."""
        if self._runner is not None:
            await self._runner.cleanup()

    @property
    def variables(self) -> dict[str, str]:
        """What the process finds in its environment; see `pipeline.Command`."""
        run = f"http://{LOCALHOST}:{self._port}/{self._secret}"
        steps = {f"AGENTTTS_STEP_{name}": f"{run}/steps/{name}/v1" for name in self._names}
        return {**steps, "OPENAI_BASE_URL": f"{run}/v1", "OPENAI_API_KEY": "agenttts"}

    @contextmanager
    def answering(self, asked: AskedSteps) -> Iterator[None]:
        """Let the process ask for one example."""
        self._asked = asked
        try:
            yield
        finally:
            self._asked = None

    async def _answer(self, request: web.Request) -> web.Response:
        asked = self._asked
        if asked is None:
            return _refused(409, "no example is being run: what is asked after its answer belongs to none")
        with asked.waiting():
            try:
                return await self._completion(request, asked)
            except CommandFailed as error:
                return self._failed(asked, error, 404, str(error))
            except ConfigError as error:
                return self._failed(asked, error, 400, str(error))
            except AgentTTSError as error:
                # The client is not to try again; the example knows what became of the draw itself.
                asked.told = str(error)
                return _refused(400, str(error))
            except Exception as error:  # the user's own parser may raise anything
                return self._failed(asked, error, 500, f"a function of the pipeline failed with {type(error).__name__}")

    async def _completion(self, request: web.Request, asked: AskedSteps) -> web.Response:
        from aiohttp import web

        if other := request.match_info.get("other"):
            raise CommandFailed(
                f"asked for {request.method} {other!r}, and a step answers POST 'chat/completions' alone"
            )
        try:
            body = read_json(await request.read())
        except web.HTTPRequestEntityTooLarge:
            raise CommandFailed(f"sent a request of more than {_MOST_BODY:,} bytes") from None
        except ValueError as error:
            raise CommandFailed(f"sent a request that is no JSON: {error}") from error
        name = request.match_info.get("step") or self._named(body)
        if name not in asked.steps:
            raise CommandFailed(f"asked step {name!r}; the pipeline's subtasks are {', '.join(self._names)}")
        try:
            given = StepRequest.read(name, body)
        except ConfigError as error:
            raise CommandFailed(f"sent what cannot be answered: {error}") from error
        kind, text = given.completion(await asked.steps[name].turn(given.messages, given.fields))
        return web.Response(text=text, content_type=kind)

    def _named(self, body: Any) -> str:
        name = named_step(body)
        if name or len(self._names) > 1:
            return name or _no_step(body)
        return self._names[0]

    def _failed(self, asked: AskedSteps, error: Exception, status: int, message: str) -> web.Response:
        asked.failure, asked.told = asked.failure or error, message
        return _refused(status, message)


def _no_step(body: Any) -> str:
    """What a model's name says where it should say a step.

    Raises:
        CommandFailed: Always.
    """
    model = body.get("model") if isinstance(body, Mapping) else None
    raise CommandFailed(f"asked model {model!r}, which names no step: write {NAMED}NAME, or ask at the step's address")


def _refused(status: int, message: str) -> web.Response:
    from aiohttp import web

    return web.Response(status=status, text=refusal(message), content_type="application/json")
