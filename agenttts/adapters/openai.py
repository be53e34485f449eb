"""The official client, whose requests a search can answer: `AsyncOpenAI` and `OpenAI` in place of `openai`'s own.

`client.step("answer").chat.completions.create(...)`, or the model name `step:answer`, goes through the allocation while
the pipeline's function is run: model, number of samples and sampling are those of the step, whatever the request says.
Everything else, and everything outside of a search, goes to the endpoint as ever. So whatever takes a client takes this
one: pydantic-ai, LlamaIndex, a program of one's own. See the package.

The step is put in where the client would send the request: its ways of calling (`stream`, `with_raw_response`) stay.
Code in threads that do not carry the context on (`asyncio.to_thread` does) is outside of the search.
"""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Any, Self

import openai

from agenttts._util.text import storable_data
from agenttts.errors import AgentTTSError, ConfigError
from agenttts.execution.run import current_step, is_running
from agenttts.pipeline import Message
from agenttts.pipeline.fingerprint import identified

__all__ = ["AsyncOpenAI", "OpenAI"]

_HEADER = "X-Agenttts-Step"
_NAMED = "step:"
_UNSENDABLE = ("tools", "functions", "response_format", "stop", "audio")
"""What changes what comes back and is no part of a prompt."""
_httpx: Any = import_module(openai.DefaultHttpxClient.__mro__[1].__module__.partition(".")[0])
"""httpx, or httpx2 as its successor: whichever the official client brings."""


class _Stepping(openai.DefaultHttpxClient):
    """Sends what is no step's."""

    def send(self, request: Any, **options: Any) -> Any:
        asked = _asked(request)
        if asked is None:
            return super().send(request, **options)
        try:
            step, messages = current_step(asked.step), asked.messages()
            return asked.answer(step.wait(step.reply(messages)))
        except AgentTTSError as error:
            return asked.refusal(error)


class _AsyncStepping(openai.DefaultAsyncHttpxClient):
    """Sends what is no step's."""

    async def send(self, request: Any, **options: Any) -> Any:
        asked = _asked(request)
        if asked is None:
            return await super().send(request, **options)
        try:
            return asked.answer(await current_step(asked.step).reply(asked.messages()))
        except AgentTTSError as error:
            return asked.refusal(error)


@identified("adapters.openai.client", version=1, scored=())
class OpenAI(openai.OpenAI):
    """`openai.OpenAI`, of which a search can answer the requests of steps. It is called from threads.

    Examples:
        >>> from agenttts.adapters.openai import OpenAI
        >>> client = OpenAI(api_key="none", base_url="http://127.0.0.1:8000/v1")
        >>> answer = client.step("answer").chat.completions.create  # in place of client.chat.completions.create

    Raises:
        ConfigError: When it is given an `http_client`, which would send the requests of steps as well.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**{**options, "http_client": _client(options, _Stepping)})

    def step(self, name: str) -> Self:
        """The same client, for a step of the pipeline."""
        return self.with_options(default_headers={_HEADER: name})


@identified("adapters.openai.async_client", version=1, scored=())
class AsyncOpenAI(openai.AsyncOpenAI):
    """`openai.AsyncOpenAI`, of which a search can answer the requests of steps.

    Examples:
        >>> from agenttts.adapters.openai import AsyncOpenAI
        >>> asking = AsyncOpenAI(api_key="none", base_url="http://127.0.0.1:8000/v1")
        >>> async def ask(example, steps):
        ...     asked = [{"role": "user", "content": example["question"]}]
        ...     said = await asking.step("answer").chat.completions.create(model="gpt-5-mini", messages=asked)
        ...     return said.choices[0].message.content
        >>> subtask, metric = at.Subtask("answer", (small, large)), at.metrics.exact_match("gold")
        >>> environment = at.LiveEnvironment(at.Pipeline("mine", (subtask,), metric, run=ask), rows, client=client)
        >>> asyncio.run(environment.evaluate(at.Allocation({"answer": ("large", 3)}))).score
        1.0

    Raises:
        ConfigError: When it is given an `http_client`, which would send the requests of steps as well.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**{**options, "http_client": _client(options, _AsyncStepping)})

    def step(self, name: str) -> Self:
        """The same client, for a step of the pipeline."""
        return self.with_options(default_headers={_HEADER: name})


def _client(options: Mapping[str, Any], kind: Any) -> Any:
    """What sends requests; a copy of a client hands on that of the first."""
    given = options.get("http_client")
    if given is None:
        return kind()
    if not isinstance(given, kind):
        raise ConfigError("a client with steps has an http_client of its own: leave http_client out")
    return given


class _StepRequest:
    """A request for completions that a step answers."""

    def __init__(self, request: Any, body: Mapping[str, Any], step: str) -> None:
        self._request, self._body, self.step = request, body, step

    def messages(self) -> list[Message]:
        """The prompt.

        Raises:
            ConfigError: When the request asks for what a step does not do.
        """
        odd = [name for name in _UNSENDABLE if self._body.get(name)]
        odd += ["n"] if self._body.get("n") not in (None, 1) else []
        if odd:
            raise ConfigError(
                f"step {self.step!r} takes no {odd[0]!r} in a request: declare it in the subtask, or leave it out"
            )
        rows = self._body["messages"]
        return [{"role": str(each["role"]), "content": self._text(each.get("content"))} for each in rows]

    def _text(self, content: Any) -> str:
        if isinstance(content, str):
            return content
        if isinstance(content, Sequence) and all(part.get("type") == "text" for part in content):
            return "".join(part["text"] for part in content)
        raise ConfigError(f"step {self.step!r}: a message holds more than text, which a step cannot send")

    def answer(self, text: str) -> Any:
        """The completion, as a server would send it. Tokens are counted where the models are asked, not here."""
        said = {"role": "assistant", "content": text}
        whole = {"index": 0, "message": said, "finish_reason": "stop", "logprobs": None}
        head = {"id": f"chatcmpl-{uuid.uuid4().hex}", "created": int(time.time()), "model": f"{_NAMED}{self.step}"}
        if not self._body.get("stream"):
            usage = {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}
            return self._response(200, {**head, "object": "chat.completion", "choices": [whole], "usage": usage})
        choices = (
            {"index": 0, "delta": said, "finish_reason": None},
            {"index": 0, "delta": {}, "finish_reason": "stop"},
        )
        chunks = [{**head, "object": "chat.completion.chunk", "choices": [choice]} for choice in choices]
        events = "".join(f"data: {json.dumps(storable_data(chunk))}\n\n" for chunk in chunks)
        headers = {"content-type": "text/event-stream"}
        return _httpx.Response(200, content=f"{events}data: [DONE]\n\n", headers=headers, request=self._request)

    def refusal(self, error: AgentTTSError) -> Any:
        """An error that the client does not try again; the search knows what became of the draw itself."""
        return self._response(400, {"error": {"message": str(error), "type": "invalid_request_error", "code": None}})

    def _response(self, status: int, data: Mapping[str, Any]) -> Any:
        return _httpx.Response(status, json=storable_data(data), request=self._request)


def _asked(request: Any) -> _StepRequest | None:
    """What a step is asked; None for a request that is to be sent."""
    step = request.headers.pop(_HEADER, "")
    if not request.url.path.endswith("/chat/completions"):
        return None
    body = json.loads(request.content)
    model = str(body.get("model", ""))
    step = step or model.removeprefix(_NAMED) * model.startswith(_NAMED)
    return _StepRequest(request, body, step) if step and is_running() else None
