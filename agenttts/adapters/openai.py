"""The official client, whose requests a search can answer: `AsyncOpenAI` and `OpenAI` in place of `openai`'s own.

`client.step("answer").chat.completions.create(...)`, or the model name `step:answer`, goes through the allocation while
the pipeline's function is run: model, number of samples and sampling are those of the step, whatever the request says.
Everything else, and everything outside of a search, goes to the endpoint as ever. So whatever takes a client takes this
one: pydantic-ai, LlamaIndex, a program of one's own. See the package.

The step is put in where the client would send the request: its ways of calling (`stream`, `with_raw_response`) stay.
`tools`, `tool_choice`, `response_format` and `stop` go with the step's request (see `execution.completions`).

While a search runs, a step that is asked from a thread that does not know its example is an error that says so:
`asyncio.to_thread` carries it on, a bare `threading.Thread` or an executor's `submit` does not.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib import import_module
from typing import Any, Self

import openai

from agenttts.errors import AgentTTSError, ConfigError
from agenttts.execution.completions import StepRequest, named_step, refusal
from agenttts.execution.current import current_step, runs_anywhere
from agenttts.pipeline.fingerprint import identified
from agenttts.pipeline.operators import Drawn

__all__ = ["AsyncOpenAI", "OpenAI"]

_HEADER = "X-Agenttts-Step"
_httpx: Any = import_module(openai.DefaultHttpxClient.__mro__[1].__module__.partition(".")[0])
"""httpx, or httpx2 as its successor: whichever the official client brings."""


class _Stepping(openai.DefaultHttpxClient):
    """Sends what is no step's."""

    def send(self, request: Any, **options: Any) -> Any:
        asked = _asked(request)
        return super().send(request, **options) if asked is None else asked.blocking()


class _AsyncStepping(openai.DefaultAsyncHttpxClient):
    """Sends what is no step's."""

    async def send(self, request: Any, **options: Any) -> Any:
        asked = _asked(request)
        return await (super().send(request, **options) if asked is None else asked.awaited())


class _WithSteps:
    """What both clients have beyond the official one."""

    with_options: Any

    def step(self, name: str) -> Self:
        """The same client, for a step of the pipeline."""
        copied: Self = self.with_options(default_headers={_HEADER: name})
        return copied


@identified("adapters.openai.client", version=1, scored=())
class OpenAI(_WithSteps, openai.OpenAI):
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


@identified("adapters.openai.async_client", version=1, scored=())
class AsyncOpenAI(_WithSteps, openai.AsyncOpenAI):
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


def _client(options: Mapping[str, Any], kind: Any) -> Any:
    """What sends requests; a copy of a client hands on that of the first."""
    given = options.get("http_client")
    if given is None:
        return kind()
    if not isinstance(given, kind):
        raise ConfigError("a client with steps has an http_client of its own: leave http_client out")
    return given


class _OfAStep:
    """A request to a step, which answers those for chat completions."""

    def __init__(self, request: Any, body: Any, step: str) -> None:
        self._request, self._body, self._step = request, body, step

    def blocking(self) -> Any:
        """The answer, waited for in a thread."""
        try:
            step, asked = current_step(self._step), StepRequest.read(self._step, self._body)
            return self._answer(asked, step.wait(step.turn(asked.messages, asked.fields)))
        except AgentTTSError as error:
            return self._refusal(error)

    async def awaited(self) -> Any:
        """The answer, in an event loop."""
        try:
            step, asked = current_step(self._step), StepRequest.read(self._step, self._body)
            return self._answer(asked, await step.turn(asked.messages, asked.fields))
        except AgentTTSError as error:
            return self._refusal(error)

    def _answer(self, asked: StepRequest, drawn: Drawn) -> Any:
        kind, body = asked.completion(drawn)
        return self._response(200, body, kind)

    def _refusal(self, error: AgentTTSError) -> Any:
        """An error that the client does not try again; the search knows what became of the draw itself."""
        return self._response(400, refusal(str(error)))

    def _response(self, status: int, body: str, kind: str = "application/json") -> Any:
        return _httpx.Response(status, content=body, headers={"content-type": kind}, request=self._request)


def _asked(request: Any) -> _OfAStep | None:
    """What a step is asked; None for a request that is to be sent."""
    marked = request.headers.pop(_HEADER, "")
    sent = request.headers.get("content-type", "").startswith("application/json")
    body = json.loads(request.content) if sent else None
    step = marked or named_step(body)
    return _OfAStep(request, body, step) if step and runs_anywhere() else None
