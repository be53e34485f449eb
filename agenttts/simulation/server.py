"""A simulation over HTTP: the web application, and servers of it for a thread or a whole process."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
import time
from collections.abc import AsyncIterator, Callable
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar

from pydantic import BaseModel, ValidationError

from agenttts.chat import SIMULATION
from agenttts.errors import ConfigError
from agenttts.simulation.simulation import CompletionBody, EmbeddingBody, Refused, Simulation

if TYPE_CHECKING:
    import uvicorn
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response

HOST = "127.0.0.1"
_MARK = {"X-Simulation": SIMULATION}
_START_S = 20.0
_POLL_S = 0.01

Body = TypeVar("Body", bound=BaseModel)


def application(simulation: Simulation) -> Starlette:
    """The web application: `/v1/models`, `/v1/chat/completions` and `/v1/embeddings`.

    Raises:
        ConfigError: When the extra `simulation` is not installed.
    """
    try:
        from starlette.applications import Starlette
        from starlette.responses import JSONResponse
        from starlette.routing import Route
    except ImportError as error:
        raise ConfigError("a simulation needs a web server: pip install 'agenttts[simulation]'") from error

    async def models(_: Request) -> Response:
        return JSONResponse(simulation.listing(), headers=_MARK)

    def answering(schema: type[Body], answer: Callable[[Body], dict[str, Any]], path: str) -> Route:
        async def respond(request: Request) -> Response:
            try:
                body = schema.model_validate_json(await request.body())
                return await _answer(simulation, partial(answer, body))
            except ValidationError as error:
                return _refusal(400, f"not a request for {path.rpartition('/')[2]}: {error.errors()[0]['msg']}")
            except Refused as error:
                return _refusal(error.status, str(error))

        return Route(path, respond, methods=["POST"])

    routes = [
        Route("/v1/models", models),
        answering(CompletionBody, simulation.complete, "/v1/chat/completions"),
        answering(EmbeddingBody, simulation.embed, "/v1/embeddings"),
    ]
    return Starlette(routes=routes)


async def _answer(simulation: Simulation, answer: Callable[[], dict[str, Any]]) -> Response:
    """An answer, or what the faults make of it."""
    from starlette.responses import JSONResponse, Response, StreamingResponse

    fault = simulation.faults.draw(simulation.random)
    if fault == "rate_limit":
        return _refusal(429, "too many requests", retry_after=simulation.faults.retry_after_s)
    if fault == "error":
        return _refusal(500, "a fault on request")
    answered = answer()
    if fault == "slow":
        await asyncio.sleep(simulation.faults.slow_s)
    if fault not in ("garbled", "cut"):
        return JSONResponse(answered, headers=_MARK)
    whole = json.dumps(answered).encode()
    half = whole[: len(whole) // 2]
    if fault == "garbled":
        return Response(half, media_type="application/json", headers=_MARK)
    # The server closes a connection on which less comes than was announced.
    announced = {**_MARK, "Content-Length": str(len(whole))}
    return StreamingResponse(_chunks(half), media_type="application/json", headers=announced)


async def _chunks(*parts: bytes) -> AsyncIterator[bytes]:
    for part in parts:
        yield part


def _refusal(status: int, message: str, *, retry_after: float | None = None) -> Response:
    from starlette.responses import JSONResponse

    after = {} if retry_after is None else {"Retry-After": f"{retry_after:g}"}
    return JSONResponse({"error": {"message": f"{SIMULATION}: {message}"}}, status, headers={**_MARK, **after})


class SimulationServer:
    """Serves a simulation from a thread of this process while entered.

    Args:
        simulation: What is served.
        port: Where; any free port when 0.

    Raises:
        ConfigError: When the port is taken, or the extra `simulation` is not installed.
    """

    def __init__(self, simulation: Simulation, *, port: int = 0) -> None:
        self._server = _uvicorn(simulation)
        self._socket = _bound(port)
        self._thread = threading.Thread(target=self._server.run, args=([self._socket],), daemon=True)

    @property
    def url(self) -> str:
        """The base URL of its endpoint."""
        return f"http://{HOST}:{self._socket.getsockname()[1]}/v1"

    def __enter__(self) -> Self:
        self._thread.start()
        deadline = time.monotonic() + _START_S
        while not self._server.started and self._thread.is_alive() and time.monotonic() < deadline:
            time.sleep(_POLL_S)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.should_exit = True
        self._thread.join()
        self._socket.close()

    def run(self) -> None:
        """Serve from the calling thread until interrupted."""
        try:
            self._server.run([self._socket])
        except KeyboardInterrupt:
            pass  # this is how it is ended
        finally:
            self._socket.close()


def _uvicorn(simulation: Simulation) -> uvicorn.Server:
    app: Any = application(simulation)
    import uvicorn

    quiet: dict[str, Any] = {"log_level": "critical", "access_log": False, "server_header": False}
    return uvicorn.Server(uvicorn.Config(app, lifespan="off", ws="none", timeout_graceful_shutdown=1, **quiet))


def _bound(port: int) -> socket.socket:
    bound = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind((HOST, port))
    except (OSError, OverflowError) as error:
        bound.close()
        raise ConfigError(f"cannot listen on port {port}: choose another with --port") from error
    bound.listen()  # who connects before the server runs waits for it
    return bound
