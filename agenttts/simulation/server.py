"""A simulation over HTTP: the web application, and a server of it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import BaseModel, ValidationError

from agenttts._util.hints import install
from agenttts._util.web import WebServer
from agenttts.errors import ConfigError
from agenttts.llm.endpoint import SIMULATION
from agenttts.simulation.simulation import CompletionBody, EmbeddingBody, RequestRejected, Simulation

if TYPE_CHECKING:
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response

_MARK = {"X-Simulation": SIMULATION}

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
        raise ConfigError(f"a simulation needs a web server: {install('simulation')}") from error

    async def models(_: Request) -> Response:
        return JSONResponse(simulation.listing(), headers=_MARK)

    def answering(schema: type[Body], answer: Callable[[Body], dict[str, Any]], path: str) -> Route:
        async def respond(request: Request) -> Response:
            try:
                body = schema.model_validate_json(await request.body())
                return await _answer(simulation, partial(answer, body))
            except ValidationError as error:
                return _refusal(400, f"not a request for {path.rpartition('/')[2]}: {error.errors()[0]['msg']}")
            except RequestRejected as error:
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


class SimulationServer(WebServer):
    """Serves a simulation on this machine.

    Args:
        simulation: What is served.
        port: Where; any free port when 0.

    Raises:
        ConfigError: When the port is taken, or the extra `simulation` is not installed.
    """

    def __init__(self, simulation: Simulation, *, port: int = 0) -> None:
        super().__init__(application(simulation), port=port)
