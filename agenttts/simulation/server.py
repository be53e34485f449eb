"""A simulation over HTTP: the web application, and a server of it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

from pydantic import ValidationError

from agenttts.chat import SIMULATION
from agenttts.errors import ConfigError
from agenttts.simulation.simulation import CompletionBody, Refused, Simulation
from agenttts.web import WebServer

if TYPE_CHECKING:
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response

_MARK = {"X-Simulation": SIMULATION}


def application(simulation: Simulation) -> Starlette:
    """The web application: `/v1/models` and `/v1/chat/completions`.

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

    async def completions(request: Request) -> Response:
        try:
            body = CompletionBody.model_validate_json(await request.body())
            return await _answer(simulation, body)
        except ValidationError as error:
            return _refusal(400, f"not a request for completions: {error.errors()[0]['msg']}")
        except Refused as error:
            return _refusal(error.status, str(error))

    routes = [Route("/v1/models", models), Route("/v1/chat/completions", completions, methods=["POST"])]
    return Starlette(routes=routes)


async def _answer(simulation: Simulation, body: CompletionBody) -> Response:
    """A completion, or what the faults make of it."""
    from starlette.responses import JSONResponse, Response, StreamingResponse

    fault = simulation.faults.draw(simulation.random)
    if fault == "rate_limit":
        return _refusal(429, "too many requests", retry_after=simulation.faults.retry_after_s)
    if fault == "error":
        return _refusal(500, "a fault on request")
    completion = simulation.complete(body)
    if fault == "slow":
        await asyncio.sleep(simulation.faults.slow_s)
    if fault not in ("garbled", "cut"):
        return JSONResponse(completion, headers=_MARK)
    whole = json.dumps(completion).encode()
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
