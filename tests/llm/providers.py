"""Providers of models in small: each answers, lists and complains in the shape of the real one, over real HTTP."""

from __future__ import annotations

import json
import ssl
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, NamedTuple, Self

KEY = "sk-of-the-provider-0123456789"


class Said(NamedTuple):
    """An HTTP answer: JSON, or text as it is."""

    body: Any
    status: int = 200
    headers: Mapping[str, str] = {}


def refusal(message: str, status: int = 400, **fields: Any) -> Said:
    """A complaint as OpenAI writes it."""
    return Said({"error": {"message": message, "type": "invalid_request_error", **fields}}, status)


def choices(body: Mapping[str, Any], *, most: int = 128, **message: Any) -> list[dict[str, Any]]:
    """The last word of what is asked, as often as it is asked for; where tools are offered, a call of the first."""
    last = body["messages"][-1]
    word = str(last["content"]).split()[-1]
    said = {"role": "assistant", "content": word, **message}
    if body.get("tools") and last["role"] != "tool":
        function = {"name": body["tools"][0]["function"]["name"], "arguments": json.dumps({"word": word})}
        said |= {"content": None, "tool_calls": [{"id": "call_1", "type": "function", "function": function}]}
    return [{"index": i, "finish_reason": "stop", "message": said} for i in range(min(body.get("n", 1), most))]


def completion(body: Mapping[str, Any], *, usage: Any = ..., most: int = 128, **message: Any) -> Said:
    """A right answer."""
    found = choices(body, most=most, **message)
    told = {"prompt_tokens": 9, "completion_tokens": len(found), "total_tokens": 9 + len(found)}
    return Said({"id": "x", "object": "chat.completion", "model": body.get("model"), "choices": found,
                 "usage": told if usage is ... else usage})  # fmt: skip


Chat = Callable[[dict[str, Any]], Said]


@dataclass(frozen=True)
class Shape:
    """What is particular to a provider."""

    chat: Chat
    """What it answers, once the key is right."""
    model: str
    """A model that it has."""
    path: str = "/v1"
    """Of its API."""
    models: Said | None = None
    """Its list of models; None has no list."""
    query: str = ""
    header: str = "authorization"
    """Where it looks for the key; empty asks for none."""
    tokenize: Chat | None = None
    """Its tokenizer."""
    fields: Mapping[str, Any] = field(default_factory=dict)
    """Further fields of the `Model` that asks it."""


def listing(*names: str) -> Said:
    return Said({"object": "list", "data": [{"id": name, "object": "model", "owned_by": "x"} for name in names]})


def _classic(body: dict[str, Any]) -> Said:
    return completion(body)


def _reasoning(body: dict[str, Any]) -> Said:
    if "max_tokens" in body:
        text = (
            "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead."
        )
        return refusal(text, param="max_tokens", code="unsupported_parameter")
    for name in ("temperature", "top_p"):
        if body.get(name, 1) != 1:
            only = "Only the default (1) value is supported."
            text = f"Unsupported value: '{name}' does not support {body[name]} with this model. {only}"
            return refusal(text, param=name, code="unsupported_value")
    if "top_p" in body:
        return refusal("Unsupported parameter: 'top_p' is not supported with this model.", param="top_p")
    if body.get("n", 1) > 1:
        return refusal(
            "Unsupported value: 'n' does not support 4 with this model.", param="n", code="unsupported_value"
        )
    details = {"completion_tokens_details": {"reasoning_tokens": 7}}
    return completion(body, usage={"prompt_tokens": 9, "completion_tokens": 8, "total_tokens": 17, **details})


def _openai(body: dict[str, Any]) -> Said:
    """One account that has both kinds of models."""
    return _reasoning(body) if body["model"].startswith(("o", "gpt-5")) else _classic(body)


def _anthropic(body: dict[str, Any]) -> Said:
    if "temperature" in body and "top_p" in body:
        text = "`temperature` and `top_p` cannot both be specified for this model. Please use only one."
        return Said({"type": "error", "error": {"type": "invalid_request_error", "message": text}}, 400)
    if body.get("n", 1) > 1:
        text = "n: Input should be less than or equal to 1"
        return Said({"type": "error", "error": {"type": "invalid_request_error", "message": text}}, 400)
    return completion(body)


def _gemini(body: dict[str, Any]) -> Said:
    known = {"model", "messages", "temperature", "top_p", "max_tokens", "n", "stop", "reasoning_effort", "tools"}
    unknown = [name for name in body if name not in known]
    if unknown:
        texts = [f'Invalid JSON payload received. Unknown name "{name}": Cannot find field.' for name in unknown]
        details = [{"@type": "x/google.rpc.BadRequest", "fieldViolations": [{"description": text} for text in texts]}]
        error = {"code": 400, "message": "\n".join(texts), "status": "INVALID_ARGUMENT", "details": details}
        return Said([{"error": error}], 400)
    return completion(body, usage=None)


def _openrouter(body: dict[str, Any]) -> Said:
    if "broken" in body["messages"][-1]["content"]:
        raw = '{"error": {"message": "The upstream is overloaded"}}'
        error = {"message": "Provider returned error", "code": 502, "metadata": {"raw": raw, "provider_name": "Up"}}
        return Said({"error": error, "user_id": "user_1"})
    return completion(body, most=1, reasoning="Let me see.")


def _mistral(body: dict[str, Any]) -> Said:
    if "seed" in body:
        detail = [
            {"type": "extra_forbidden", "loc": ["body", "seed"], "msg": "Extra inputs are not permitted", "input": 1}
        ]
        return Said(
            {"object": "error", "message": {"detail": detail}, "type": "invalid_request_error", "code": None}, 422
        )
    return completion(body, content=[{"type": "text", "text": body["messages"][-1]["content"].split()[-1]}])


def _litellm(body: dict[str, Any]) -> Said:
    if "top_p" in body or "seed" in body:
        names = [name for name in ("seed", "top_p") if name in body]
        way = "To drop these, set `litellm.drop_params=True`"
        text = f"litellm.UnsupportedParamsError: azure does not support parameters: {names}, for model=o3. {way}"
        return Said({"error": {"message": text, "type": "None", "param": "None", "code": "400"}}, 400)
    return completion(body)


def _ollama(body: dict[str, Any]) -> Said:
    if body["model"] not in ("llama3.2", "llama3.2:latest"):
        text = f'model "{body["model"]}" not found, try pulling it first'
        return Said({"error": {"message": text, "type": "api_error", "param": None, "code": None}}, 404)
    if "tools" in body:
        return refusal("registry.ollama.ai/library/llama3.2:latest does not support tools")
    return completion(body, most=1)


def _tgi(body: dict[str, Any]) -> Said:
    if body.get("top_p", 0.5) in (0, 1):
        return Said(
            {"error": "Input validation error: `top_p` must be > 0.0 and < 1.0", "error_type": "validation"}, 422
        )
    return completion(body, most=1)


def _vllm(body: dict[str, Any]) -> Said:
    if "reasoning_effort" in body:
        text = "[{'type': 'extra_forbidden', 'loc': ('body', 'reasoning_effort'), 'msg': 'Extra inputs'}]"
        return Said({"object": "error", "message": text, "type": "BadRequestError", "param": None, "code": 400}, 400)
    word = str(body["messages"][-1]["content"]).split()[-1]
    if "tools" in body:
        return completion(body)
    return completion(body, content=f"<think>{word}? No: Answer: 0</think>\n\n{word}", reasoning_content=None)


def _sglang(body: dict[str, Any]) -> Said:
    if body.get("top_k") == 0:
        text = "top_k must be -1 (disable) or at least 1, got 0."
        return Said({"object": "error", "message": text, "type": "BadRequestError", "param": None, "code": 400}, 400)
    return completion(body)


def _llamacpp(body: dict[str, Any]) -> Said:
    if "tools" in body:
        return Said({"error": {"code": 500, "message": "tools param requires --jinja flag"}}, 500)
    if body.get("n", 1) > 1:
        error = {"code": 500, "message": "Only one completion choice is allowed", "type": "server_error"}
        return Said({"error": error}, 500)
    return completion(body)


_MANY = listing(*(f"vendor{i % 40}/model-{i}" for i in range(329)), "meta-llama/llama-3.1-8b-instruct")

SHAPES = {
    "openai": Shape(_openai, "gpt-4o-mini", models=listing("gpt-4o-mini", "gpt-5-mini")),
    "openai reasoning": Shape(_openai, "gpt-5-mini", models=listing("gpt-4o-mini", "gpt-5-mini")),
    "azure": Shape(
        _openai, "gpt-4o-mini", "/openai/deployments/gpt-4o-mini", query="api-version=2024-10-21", header="api-key",
        fields={"headers": {"api-key": "PROVIDER_KEY"}},
    ),  # fmt: skip
    "anthropic": Shape(_anthropic, "claude-sonnet-4-5", models=listing("claude-sonnet-4-5-20250929", "claude-opus")),
    "gemini": Shape(_gemini, "gemini-2.5-flash", "/v1beta/openai", listing("models/gemini-2.5-flash")),
    "openrouter": Shape(_openrouter, "meta-llama/llama-3.1-8b-instruct", "/api/v1", _MANY),
    "together": Shape(_classic, "meta-llama/Llama-3.1-8B", models=Said([{"id": "meta-llama/Llama-3.1-8B"}])),
    "mistral": Shape(_mistral, "mistral-small-latest", models=listing("mistral-small-2506", "mistral-small-latest")),
    "litellm": Shape(_litellm, "team/smart", models=Said({"detail": "key not allowed to list models"}, 403)),
    "ollama": Shape(_ollama, "llama3.2", models=listing("llama3.2:latest"), header=""),
    "tgi": Shape(_tgi, "tgi", models=listing("HuggingFaceTB/SmolLM2"), header=""),
    "vllm": Shape(_vllm, "Qwen/Qwen3-8B", models=listing("Qwen/Qwen3-8B"), header=""),
    "sglang": Shape(_sglang, "Qwen/Qwen3-8B", models=listing("Qwen/Qwen3-8B"), header=""),
    "llama.cpp": Shape(_llamacpp, "any", models=listing("/models/gguf"), header=""),
}  # fmt: skip


HOSTS = {
    "openai": "https://api.openai.com",
    "azure": "https://my-resource.openai.azure.com",
    "anthropic": "https://api.anthropic.com",
    "gemini": "https://generativelanguage.googleapis.com",
    "openrouter": "https://openrouter.ai",
    "together": "https://api.together.xyz",
    "mistral": "https://api.mistral.ai",
    "litellm": "http://localhost:4000",
    "ollama": "http://localhost:11434",
    "tgi": "http://localhost:3000",
    "vllm": "http://localhost:8000",
    "sglang": "http://localhost:30000",
    "llama.cpp": "http://localhost:8080",
}
"""Where the real ones are."""


class Provider:
    """A provider on a free loopback port while entered."""

    def __init__(self, shape: Shape, *, tls: ssl.SSLContext | None = None) -> None:
        self.shape = shape
        self._scheme = "http" if tls is None else "https"
        self.requests: list[dict[str, Any]] = []
        """Bodies of what was asked of models, in the order in which they came."""
        self.heads: list[dict[str, str]] = []
        """Headers of all requests, names in lower case."""
        self._lock = threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        if tls is not None:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})

    @property
    def host(self) -> str:
        return f"{self._scheme}://127.0.0.1:{self._server.server_address[1]}"

    @property
    def url(self) -> str:
        return self.host + self.shape.path + (f"?{self.shape.query}" if self.shape.query else "")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def answer(self, path: str, head: dict[str, str], body: dict[str, Any] | None) -> Said:
        with self._lock:
            self.heads.append(head)
            if body is not None and "messages" in body:
                self.requests.append(body)
        where, _, query = path.partition("?")
        shape = self.shape
        if shape.header and head.get(shape.header, "").removeprefix("Bearer ") != KEY:
            return refusal("Incorrect API key provided", 401, code="invalid_api_key")
        if query != shape.query:
            return Said({"error": {"code": "404", "message": "Resource not found"}}, 404)
        if body is not None and where == f"{shape.path}/chat/completions":
            return shape.chat(body)
        if body is not None and where == "/tokenize" and shape.tokenize is not None:
            return shape.tokenize(body)
        if body is None and where == f"{shape.path}/models" and shape.models is not None:
            return shape.models
        return Said({"detail": "Not Found"}, 404)


def _handler(provider: Provider) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self._answer(None)

        def do_POST(self) -> None:
            self._answer(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))

        def _answer(self, body: dict[str, Any] | None) -> None:
            head = {name.lower(): value for name, value in self.headers.items()}
            said = provider.answer(self.path, head, body)
            payload = (said.body if isinstance(said.body, str) else json.dumps(said.body)).encode()
            self.send_response(said.status)
            for name, value in {"Content-Length": str(len(payload)), **said.headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(payload)

        def log_message(self, format: str, *args: Any) -> None:
            """Tests need no access log."""

    return Handler
