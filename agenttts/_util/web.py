"""Serving a web application (Starlette): from a thread, or from the calling thread until interrupted.

Every request passes `guard.Guard` first, whatever its route.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import threading
import time
from contextlib import AbstractAsyncContextManager, nullcontext
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from agenttts._util.extras import imported
from agenttts._util.guard import Guard
from agenttts.errors import ConfigError

if TYPE_CHECKING:
    from starlette.applications import Starlette

LOCALHOST = "127.0.0.1"
_START_S = 20.0
_POLL_S = 0.01


class WebServer:
    """Serves an application; while entered, from a thread of this process.

    Args:
        app: What is served.
        port: Where; any free port when 0.
        host: The address to listen on.
        within: Entered before the first request, in the server's event loop, and left after the last.
        token: The bearer token that every request needs. Required for any address but loopback.
        cookie: Name of the cookie by which a browser shows that it had the token; see `Guard`.

    Raises:
        ConfigError: When the port is taken, no web server is installed, or a token is missing.
    """

    def __init__(
        self,
        app: Starlette,
        *,
        port: int = 0,
        host: str = LOCALHOST,
        within: AbstractAsyncContextManager[Any] | None = None,
        token: str | None = None,
        cookie: str = "",
    ) -> None:
        uvicorn: Any = imported("uvicorn", "serving needs uvicorn", extra="deploy")
        quiet: dict[str, Any] = {"log_level": "critical", "access_log": False, "server_header": False}
        self._host, self._socket = host, _bound(host, port)
        address = ipaddress.ip_address(self._socket.getsockname()[0])
        if not (address.is_loopback or token):
            self._socket.close()
            raise ConfigError(
                f"{host!r} lets other machines in: give the name of a bearer token's environment variable with "
                f"--token-env, or listen on {LOCALHOST}"
            )
        asgi: Any = Guard(app, host=host, everywhere=address.is_unspecified, token=token, cookie=cookie)
        config = uvicorn.Config(asgi, lifespan="off", ws="none", timeout_graceful_shutdown=1, **quiet)
        self._server = uvicorn.Server(config)
        self._within = within or nullcontext()
        self._thread = threading.Thread(target=self._serve, daemon=True)

    @property
    def address(self) -> str:
        """Where its pages are."""
        return f"http://{self._host}:{self._socket.getsockname()[1]}"

    @property
    def url(self) -> str:
        """The base URL of its endpoint."""
        return f"{self.address}/v1"

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
            self._serve()
        except KeyboardInterrupt:
            pass  # this is how it is ended
        finally:
            self._socket.close()

    def _serve(self) -> None:
        async def serve() -> None:
            async with self._within:
                await self._server.serve([self._socket])

        asyncio.run(serve())


def _bound(host: str, port: int) -> socket.socket:
    bound = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind((host, port))
    except (OSError, OverflowError, UnicodeError) as error:
        bound.close()
        raise ConfigError(f"cannot listen on port {port} of {host!r}: choose another with --port or --host") from error
    bound.listen()  # who connects before the server runs waits for it
    return bound
