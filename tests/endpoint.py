"""An OpenAI-compatible HTTP server for tests: answers from a function, counts tokens as words, fails on request."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, NamedTuple, Self

Reply = Callable[[Sequence[dict[str, str]], int], str]


class Fault(NamedTuple):
    """An answer other than a completion; with status 200, the message is the whole body, with 0 there is none."""

    status: int
    message: str = "on request"
    headers: dict[str, str] = {}


class FakeEndpoint:
    """Serves `/v1/models`, `/v1/chat/completions` and `/v1/embeddings` on a free loopback port while entered.

    Attributes set by a test before its requests:
        reply: (messages, seed) -> text of one choice.
        embedding: text -> vector; None has no embeddings.
        most_n: Largest `n` that is not refused with a 400; None has no bound.
        ignores_n: Whether one choice is returned whatever `n` says.
        refuses_seed: Whether a `seed` is refused with a 400.
        refuses_schema: Whether a `response_format` is refused with a 400.
        key: The only key that is accepted; every key where it is empty.
        tells_models: Whether `/v1/models` is there.
        faults: Answers given to the next requests in turn; None lets one through.
        delay_s: Seconds before each answer.
    """

    def __init__(self) -> None:
        self.reply: Reply = lambda messages, seed: f"text{seed}"
        self.embedding: Callable[[str], list[float]] | None = None
        self.models = ["small", "large"]
        self.most_n: int | None = None
        self.ignores_n = self.refuses_seed = self.refuses_schema = False
        self.key = ""
        self.tells_models = True
        self.faults: list[Fault | None] = []
        self.delay_s = 0.0
        self.requests: list[dict[str, Any]] = []
        self.paths: list[str] = []
        self.authorizations: list[str] = []
        self._lock = threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}/v1"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def listing(self, authorization: str) -> Fault | dict[str, Any]:
        if not self.tells_models:
            return Fault(404, "no such page")
        if fault := self._refused_key(authorization):
            return fault
        data = [{"id": name, "object": "model", "created": 0, "owned_by": "tests"} for name in self.models]
        return {"object": "list", "data": data}

    def _refused_key(self, authorization: str) -> Fault | None:
        given = authorization.removeprefix("Bearer ")
        return Fault(401, f"incorrect key {given}") if self.key and given != self.key else None

    def answer(self, body: dict[str, Any], authorization: str) -> Fault | dict[str, Any]:
        with self._lock:
            self.requests.append(body)
            self.authorizations.append(authorization)
            if self.faults and (fault := self.faults.pop(0)) is not None:
                return fault
        if fault := self._refused_key(authorization):
            return fault
        if "input" in body:
            return self._embedded(body)
        if body["model"] not in self.models:
            return Fault(404, f"The model `{body['model']}` does not exist")
        n = body.get("n", 1)
        if self.most_n is not None and n > self.most_n:
            return Fault(400, f"n must be at most {self.most_n}")
        if self.refuses_seed and "seed" in body:
            return Fault(400, "unknown field: seed")
        if self.refuses_schema and "response_format" in body:
            return Fault(400, "response_format is not supported")
        texts = [self.reply(body["messages"], body.get("seed", 0) + i) for i in range(1 if self.ignores_n else n)]
        prompt = sum(len(message["content"].split()) for message in body["messages"])
        completion = sum(len(text.split()) for text in texts)
        choices = [
            {"index": i, "finish_reason": "stop", "message": {"role": "assistant", "content": text}}
            for i, text in enumerate(texts)
        ]
        usage = {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}
        return {"id": "x", "object": "chat.completion", "created": 0, "model": body["model"], "choices": choices,
                "usage": usage}  # fmt: skip

    def _embedded(self, body: dict[str, Any]) -> Fault | dict[str, Any]:
        if self.embedding is None:
            return Fault(404, "no such page")
        data = [{"object": "embedding", "index": 0, "embedding": self.embedding(body["input"])}]
        tokens = len(body["input"].split())
        usage = {"prompt_tokens": tokens, "total_tokens": tokens}
        return {"object": "list", "data": data, "model": body["model"], "usage": usage}


def _handler(endpoint: FakeEndpoint) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self._answer(endpoint.listing(self.headers.get("Authorization", "")))

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            threading.Event().wait(endpoint.delay_s)
            endpoint.paths.append(self.path)
            self._answer(endpoint.answer(body, self.headers.get("Authorization", "")))

        def _answer(self, answer: Fault | dict[str, Any]) -> None:
            if isinstance(answer, Fault) and answer.status == 0:
                self.close_connection = True
                self.connection.shutdown(socket.SHUT_RDWR)
            elif isinstance(answer, Fault) and answer.status == 200:
                self._send_text(answer.message)
            elif isinstance(answer, Fault):
                self._send(answer.status, {"error": {"message": answer.message}}, answer.headers)
            else:
                self._send(200, answer, {})

        def _send_text(self, text: str) -> None:
            payload = text.encode()
            self.send_response(200)
            self.send_header("Content-Type", "text/html" if text.startswith("<") else "application/json")
            self.send_header("Content-Length", str(len(payload)))
            self.end_headers()
            self.wfile.write(payload)

        def _send(self, status: int, data: Any, headers: dict[str, str]) -> None:
            payload = json.dumps(data).encode()
            self.send_response(status)
            for name, value in {
                "Content-Type": "application/json",
                "Content-Length": str(len(payload)),
                **headers,
            }.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(payload)

        def log_message(self, format: str, *args: Any) -> None:
            """Tests need no access log."""

    return Handler
