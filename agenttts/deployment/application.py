"""A deployed pipeline as an OpenAI-compatible endpoint: `/v1/models` and `/v1/chat/completions`.

The pipeline is the one model. Its input is the last user message: a JSON object of the fields that it reads, or else
the field `question`. The allocation decides models and samples, so `temperature`, `max_tokens` and the like are not
looked at; `n` is rejected. `usage` counts what the answer took in all its stages; `agenttts` tells what was used by
stage, and whether and why the answer is less than was deployed.

Samples are voted on before there is an answer, so `stream` sends the whole answer as one chunk once it is there.

Who may ask is not decided here: `web.WebServer` guards every route (hosts, origins, token, type and size of a body).
"""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, Field, ValidationError

from agenttts._util.hints import install
from agenttts._util.strict_json import UnfitJSON, read_json
from agenttts._util.text import one_line, storable, storable_data
from agenttts.deployment.answer import PipelineAnswer
from agenttts.deployment.answering import DeployedPipeline, MissingField
from agenttts.errors import AgentTTSError, ConfigError, EndpointError

if TYPE_CHECKING:
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response

OWNER = "agenttts"
_SHOWN = 300


class _Part(BaseModel):
    type: str
    text: str = ""


class _Message(BaseModel):
    role: str
    content: str | list[_Part] = ""

    @property
    def text(self) -> str:
        if isinstance(self.content, str):
            return self.content
        return "".join(part.text for part in self.content if part.type == "text")


class _StreamOptions(BaseModel):
    include_usage: bool = False


class _Body(BaseModel):
    model: str
    messages: list[_Message] = Field(min_length=1)
    n: int | None = None
    stream: bool | None = None
    stream_options: _StreamOptions | None = None

    @property
    def counted(self) -> bool:
        """Whether a stream ends with the usage."""
        return self.stream_options is not None and self.stream_options.include_usage


class _UnanswerableRequest(AgentTTSError):
    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


def application(pipeline: DeployedPipeline) -> Starlette:
    """The web application.

    Raises:
        ConfigError: When the extra `deploy` is not installed.
    """
    try:
        from starlette.applications import Starlette
        from starlette.responses import JSONResponse, StreamingResponse
        from starlette.routing import Route
    except ImportError as error:
        raise ConfigError(f"an endpoint needs a web server: {install('deploy')}") from error
    name = pipeline.pipeline.name

    async def models(_: Request) -> Response:
        served = {"id": name, "object": "model", "created": 0, "owned_by": OWNER}
        return JSONResponse({"object": "list", "data": [served]})

    async def completions(request: Request) -> Response:
        try:
            asked = _asked(await request.body(), name)
            completion = _completion(await pipeline.answer(_input(asked)), name)
            completion = storable_data(completion)
            if asked.stream:
                return StreamingResponse(_events(completion, asked), media_type="text/event-stream")
            return JSONResponse(completion)
        except Exception as error:  # the pipeline's own functions may raise anything
            status, message = _said(error)
            message = storable(message)
            return JSONResponse({"error": {"message": message, "type": _kind(status), "code": status}}, status)

    routes = [Route("/v1/models", models), Route("/v1/chat/completions", completions, methods=["POST"])]
    return Starlette(routes=routes)


def _asked(body: bytes, name: str) -> _Body:
    """A request.

    Raises:
        _UnanswerableRequest: When it is none, or asks for what a pipeline does not do.
    """
    try:
        asked = _Body.model_validate(read_json(body))
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        said = one_line(f"{_place(first['loc'])}{first['msg']}")[:_SHOWN]
        raise _UnanswerableRequest(400, f"not a chat completion request: {said}") from error
    except ValueError as error:
        raise _UnanswerableRequest(400, f"not a chat completion request: {error}") from error
    if asked.model != name:
        raise _UnanswerableRequest(404, f"there is no model {asked.model[:_SHOWN]!r} here; there is {name!r}")
    if asked.n not in (None, 1):
        raise _UnanswerableRequest(400, "a pipeline gives one answer: leave n out")
    return asked


def _input(asked: _Body) -> dict[str, Any] | str:
    """The input in a request.

    Raises:
        _UnanswerableRequest: When there is none.
    """
    texts = [message.text for message in asked.messages if message.role == "user"]
    if not texts:
        raise _UnanswerableRequest(400, "there is no user message: the last one is the pipeline's input")
    return _fields(texts[-1])


def _fields(text: str) -> dict[str, Any] | str:
    """The fields in a message; the message itself where it is no JSON object.

    Raises:
        _UnanswerableRequest: When it is one that no pipeline can read.
    """
    try:
        found = read_json(text.encode())
    except UnfitJSON as error:
        if not text.lstrip().startswith("{"):
            return text
        raise _UnanswerableRequest(
            400, f"the last user message is a JSON object that cannot be read: {error}"
        ) from error
    except ValueError:
        return text
    return found if isinstance(found, dict) else text


def _place(location: tuple[int | str, ...]) -> str:
    return f"{'.'.join(map(str, location))}: " if location else ""


def _said(error: Exception) -> tuple[int, str]:
    """Status and sentence of a request that got no answer."""
    if isinstance(error, _UnanswerableRequest):
        return error.status, str(error)
    if isinstance(error, MissingField):
        return 400, f"{error}; the last user message may be a JSON object of fields"
    if isinstance(error, TimeoutError):
        return 504, "the time was up before any subtask was done"
    if isinstance(error, EndpointError):
        return 503, f"no model answered: {error}"
    if isinstance(error, AgentTTSError):
        return 500, str(error)
    return 500, f"a function of the pipeline failed with {type(error).__name__}"


def _kind(status: int) -> str:
    """What OpenAI's servers call an error with this status."""
    return "server_error" if status >= 500 else "invalid_request_error"


def _completion(answer: PipelineAnswer, name: str) -> dict[str, Any]:
    message = {"role": "assistant", "content": answer.text}
    prompt, completion = answer.spend.prompt_tokens, answer.spend.completion_tokens
    return {
        "id": f"chatcmpl-{uuid.uuid4().hex}",
        "object": "chat.completion",
        "created": int(time.time()),
        "model": name,
        "choices": [{"index": 0, "message": message, "finish_reason": "stop", "logprobs": None}],
        "usage": {
            "prompt_tokens": prompt,
            "completion_tokens": completion,
            "total_tokens": prompt + completion,
        },
        "agenttts": {
            "allocation": answer.allocation.as_dict(),
            "stages": {stage: asdict(used) for stage, used in answer.stages.items()},
            "requests": answer.spend.requests,
            "usd": answer.spend.usd,
            "seconds": answer.spend.seconds,
            "degraded": list(answer.degraded),
            "recorded": answer.recorded,
        },
    }


def _events(completion: dict[str, Any], asked: _Body) -> Iterator[str]:
    """A completion as server-sent events: the whole answer in one chunk, its end, the usage if asked for."""
    (choice,) = completion["choices"]
    head = {**completion, "object": "chat.completion.chunk"}
    usage, told = head.pop("usage"), head.pop("agenttts")
    steps = [
        {"index": 0, "delta": choice["message"], "finish_reason": None, "logprobs": None},
        {"index": 0, "delta": {}, "finish_reason": choice["finish_reason"], "logprobs": None},
    ]
    chunks = [{**head, "choices": [step]} for step in steps]
    if asked.counted:
        chunks = [{**chunk, "usage": None} for chunk in chunks] + [{**head, "choices": [], "usage": usage}]
    chunks[-1]["agenttts"] = told
    yield from (f"data: {json.dumps(chunk)}\n\n" for chunk in chunks)
    yield "data: [DONE]\n\n"
