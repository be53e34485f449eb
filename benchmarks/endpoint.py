"""A simulated OpenAI-compatible endpoint, and a wire that takes its time: what benchmarks of our own work ask.

No model runs. Every answer comes after the same delay, and its server is a process of its own that does as little as
can be, so that what is measured is who asks.
"""

from __future__ import annotations

import asyncio
import json
import multiprocessing
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

MODEL = "simulated"


class _Endpoint(asyncio.Protocol):
    """One connection of a client that keeps it open."""

    def __init__(self, delay_s: float, model: str, text: str) -> None:
        self._delay_s, self._model, self._text = delay_s, model, text
        self._heard = b""

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._heard += data
        while (asked := self._next()) is not None:
            asyncio.get_running_loop().call_later(self._delay_s if asked else 0.0, self._answer, asked)

    def _next(self) -> bytes | None:
        """The body of the next request that is there as a whole; empty for a GET."""
        head, found, rest = self._heard.partition(b"\r\n\r\n")
        if not found:
            return None
        _, _, after = head.lower().partition(b"content-length:")
        length = int(after.partition(b"\r\n")[0] or 0)
        if len(rest) < length:
            return None
        self._heard = rest[length:]
        return rest[:length]

    def _answer(self, asked: bytes) -> None:
        if self._transport.is_closing():
            return
        body = json.dumps(self._completion(json.loads(asked)) if asked else self._listing()).encode()
        head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        self._transport.write(head.encode() + body)

    def _completion(self, asked: dict[str, Any]) -> dict[str, Any]:
        n, message = asked.get("n", 1), {"role": "assistant", "content": self._text}
        choices = [{"index": i, "finish_reason": "stop", "message": message} for i in range(n)]
        usage = {"prompt_tokens": 60, "completion_tokens": 24 * n, "total_tokens": 60 + 24 * n}
        return {"id": "x", "object": "chat.completion", "model": self._model, "choices": choices, "usage": usage}

    def _listing(self) -> dict[str, Any]:
        data = [{"id": self._model, "object": "model", "created": 0, "owned_by": "nobody"}]
        return {"object": "list", "data": data}


class _Wire:
    """Passes what it hears on to another port, after a while; the order stays."""

    def __init__(self, port: int, delay_s: float, host: str) -> None:
        self._port, self._delay_s, self.host = port, delay_s, host

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        further, back = await asyncio.open_connection("127.0.0.1", self._port)
        await asyncio.gather(self._pass(reader, back), self._pass(further, writer))

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        loop = asyncio.get_running_loop()
        with suppress(ConnectionError):  # one side was killed: the other is to hear of it as of any end
            while said := await reader.read(1 << 16):
                loop.call_later(self._delay_s, writer.write, said)
        loop.call_later(self._delay_s, writer.close)


async def _serve(served: Any, told: Any) -> None:
    loop = asyncio.get_running_loop()
    if isinstance(served, _Wire):
        server = await asyncio.start_server(served, served.host, 0, backlog=1024)
    else:
        server = await loop.create_server(lambda: _Endpoint(*served), "127.0.0.1", 0, backlog=1024)
    told.send(server.sockets[0].getsockname()[1])
    await server.serve_forever()


def _run(served: Any, told: Any) -> None:
    asyncio.run(_serve(served, told))


@contextmanager
def _process(served: Any) -> Iterator[int]:
    """The port of what is served by another process meanwhile."""
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    child = context.Process(target=_run, args=(served, there), daemon=True)
    child.start()
    try:
        yield here.recv()
    finally:
        child.terminate()
        child.join()


@contextmanager
def endpoint(delay_s: float, *, model: str = MODEL, text: str = "the answer is 42") -> Iterator[str]:
    """The base URL of an endpoint that gives this text after so many seconds, whatever it is asked."""
    with _process((delay_s, model, text)) as port:
        yield f"http://127.0.0.1:{port}/v1"


@contextmanager
def wire(port: int, delay_s: float, *, host: str = "127.0.0.1") -> Iterator[int]:
    """The port, at one of this machine's addresses, of a wire to another port of it, slow by so much each way."""
    with _process(_Wire(port, delay_s, host)) as there:
        yield there
