"""A pipeline on a real HTTP server that gives one bad answer after another, as a test says."""

from __future__ import annotations

import json
import re
import socket
import threading
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any, Self

from agenttts.environments import LiveEnvironment
from agenttts.llm.openai import OpenAIClient
from agenttts.pipeline import Message, Model, Pipeline, Sampling, Subtask
from agenttts.pipeline.metrics import equal
from agenttts.space import Allocation, SearchSpace
from agenttts.space.cost import FlopsCost

ONE = Allocation({"answer": ("small", 1)})

Answer = bytes | dict[str, Any]
"""Raw bytes of an HTTP answer, or JSON that is sent with status 200."""


def http(body: bytes | str, status: str = "200 OK", kind: str = "application/json", **headers: str) -> bytes:
    """An answer over HTTP/1.1."""
    content = body.encode() if isinstance(body, str) else body
    lines = [f"HTTP/1.1 {status}", f"Content-Type: {kind}", f"Content-Length: {len(content)}", "Connection: close"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode() + content


def completion(*texts: str, **changes: Any) -> dict[str, Any]:
    """A right answer with these texts; `changes` are put over its fields."""
    choices = [{"index": i, "finish_reason": "stop", "message": {"content": text}} for i, text in enumerate(texts)]
    usage = {"prompt_tokens": 3, "completion_tokens": len(texts)}
    return {"choices": choices, "usage": usage, **changes}


class RawServer:
    """Speaks HTTP by hand, so that it can say anything: `answer(body, number of the request)` decides.

    An answer of None lets the connection stand without a word; b"" closes it.
    """

    def __init__(self, answer: Callable[[dict[str, Any], int], Answer | None]) -> None:
        self.answer = answer
        self.requests: list[dict[str, Any]] = []
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._socket = socket.create_server(("127.0.0.1", 0), backlog=1024)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._socket.getsockname()[1]}/v1"

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closed.set()
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection:
            try:
                self._talk(connection)
            except OSError:
                pass  # the client is gone

    def _talk(self, connection: socket.socket) -> None:
        heard = b""
        while b"\r\n\r\n" not in heard:
            part = connection.recv(65536)
            if not part:
                return
            heard += part
        head, _, body = heard.partition(b"\r\n\r\n")
        if head.startswith(b"GET"):
            connection.sendall(http(json.dumps({"object": "list", "data": [_listed("small"), _listed("large")]})))
            return
        length = re.search(rb"content-length: (\d+)", head, re.IGNORECASE)
        while length and len(body) < int(length[1]):
            body += connection.recv(65536)
        if head.startswith(b"POST /tokenize "):
            connection.sendall(http("", "404 Not Found"))
            return
        asked = json.loads(body)
        with self._lock:
            self.requests.append(asked)
            number = len(self.requests)
        answer = self.answer(asked, number)
        if answer is None:
            self._closed.wait()
        elif isinstance(answer, dict):
            connection.sendall(http(json.dumps(answer)))
        elif answer.startswith(b"DRIP"):
            connection.sendall(http(b" " * 100)[:-100])
            while not self._closed.wait(0.1):
                connection.sendall(b" ")
        else:
            connection.sendall(answer)


def _listed(name: str) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": 0, "owned_by": "tests"}


def right(asked: dict[str, Any], number: int = 0) -> dict[str, Any]:
    """The right answer of the pipeline below: the question's own word."""
    return completion(*[asked["messages"][-1]["content"].split()[-1]] * asked.get("n", 1))


def pipeline(url: str, *, max_tokens: int = 16, prices: bool = False) -> Pipeline:
    """One subtask, two models, samples from 1 to 4."""
    usd = 1.0 if prices else None
    models = tuple(
        Model(
            name,
            size,
            base_url=url,
            usd_per_million_prompt_tokens=usd,
            usd_per_million_completion_tokens=usd,
        )
        for name, size in (("small", 1e6), ("large", 8e6))
    )
    answer = Subtask(
        "answer",
        models,
        "repeat {{ question }}",
        prompt_tokens=10,
        completion_tokens=5,
        max_samples=4,
        sampling=Sampling(max_tokens=max_tokens),
    )
    return Pipeline("repeat", (answer,), metric=equal("gold"))


def environment(
    url: str, *, examples: int = 12, held_out: int = 0, client: OpenAIClient | None = None, **options: Any
) -> LiveEnvironment:
    """Every example is answered right by a server that answers, wrong by every other text."""
    rows = [{"id": f"e{i}", "question": f"word{i}", "gold": f"word{i}"} for i in range(examples + held_out)]
    quick = client or OpenAIClient(timeout_s=2, max_retries=2)
    return LiveEnvironment(pipeline(url, **options), rows[:examples], held_out=rows[examples:], client=quick)


def space(environment: LiveEnvironment) -> SearchSpace:
    """All of its allocations."""
    return SearchSpace(environment.pipeline, FlopsCost(), 1e6)


def prompt(text: str = "repeat word") -> list[Message]:
    return [{"role": "user", "content": text}]


def on_question(word: str, bad: Answer, *, times: int = 10**9) -> Callable[[dict[str, Any], int], Answer]:
    """Right answers, but for the question with this word: that gets a bad one, so many times."""
    left = [times]

    def answer(asked: dict[str, Any], number: int) -> Answer:
        if asked["messages"][-1]["content"].endswith(f" {word}") and left[0] > 0:
            left[0] -= 1
            return bad
        return right(asked)

    return answer


def texts(samples: Sequence[Any]) -> list[str]:
    return [sample.text for sample in samples]
