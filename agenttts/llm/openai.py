"""The client of OpenAI-compatible endpoints: completions of one prompt, with honest token counts.

Retries, back-off, Retry-After and time-outs are the official client's. What servers differ in is learned once per
endpoint: how many choices they return at once (`n=`), and whether their usage counts all of them. llama.cpp counts
only one choice, so its completions are counted with its own tokenizer.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from agenttts._util.text import storable
from agenttts.errors import ConfigError, EndpointError
from agenttts.llm.endpoint import (
    DEFAULT_BASE_URL,
    REFUSED,
    SIMULATION,
    endpoint_url,
    openai_client,
    refusal,
    require_served,
    served_models,
    shown_url,
)
from agenttts.llm.prefix_cache import CacheUse, read_metrics
from agenttts.llm.samples import Completions, Sample
from agenttts.llm.token_counts import tokens_by_length, tokens_by_llama_cpp
from agenttts.pipeline import Message, Model, Sampling

if TYPE_CHECKING:
    from openai import AsyncOpenAI
    from openai.types import CreateEmbeddingResponse

SIMULATED = "simulated models; no LLM runs"
"""What is said of the answers of a simulated server."""
TIMEOUT_S = 120.0
MAX_RETRIES = 5
MAX_IN_FLIGHT = 64
_MAX_SEED = 2**31
_METRICS_TIMEOUT_S = 5.0
_PROBE = "ready"
_UNSUPPORTED = (404, 501)
"""Statuses of a server that has no embeddings, though they also mean that it is at fault."""


@dataclass
class _Endpoint:
    url: str
    client: AsyncOpenAI
    accepted_n: int = 1
    """Most choices that the server has returned at once."""
    refused_n: int | None = None
    """Fewest choices that the server has rejected."""
    miscounts: bool = False
    """Its usage counts one choice only (llama.cpp)."""
    takes_seed: bool = True
    tells_cache: bool = True
    """Whether it may count the use of its prefix cache."""
    probing: asyncio.Lock = field(default_factory=asyncio.Lock)

    def may_take(self, n: int) -> bool:
        """Whether it is unknown if the server takes more choices than it ever has."""
        return n > self.accepted_n and self.refused_n != self.accepted_n + 1


class OpenAIClient:
    """The official `openai` async client, one connection pool per endpoint.

    Args:
        max_in_flight: Requests under way at once, over all endpoints.
        timeout_s: Seconds that one request may take.
        max_retries: Retries of a request that timed out or was answered 408, 409, 429 or 5xx.
    """

    def __init__(
        self,
        *,
        max_in_flight: int = MAX_IN_FLIGHT,
        timeout_s: float = TIMEOUT_S,
        max_retries: int = MAX_RETRIES,
    ) -> None:
        self._timeout_s, self._max_retries = timeout_s, max_retries
        self._max_in_flight = max_in_flight
        self._slots = asyncio.Semaphore(max_in_flight)
        self._endpoints: dict[tuple[str, str], _Endpoint] = {}
        self._routes: dict[str, str] = {}

    def with_limits(self, *, timeout_s: float, max_retries: int) -> OpenAIClient:
        """A client with the same routes that waits for less, or for more."""
        other = OpenAIClient(max_in_flight=self._max_in_flight, timeout_s=timeout_s, max_retries=max_retries)
        other.route(self._routes)
        return other

    def url(self, model: Model) -> str:
        """Where a model is asked."""
        return endpoint_url(self._routes.get(model.served_name) or model.base_url)

    async def complete(
        self, model: Model, messages: Sequence[Message], sampling: Sampling, *, start: int, samples: int, seed: int
    ) -> Completions:
        endpoint, body, seed = self._endpoint(model), _body(model, messages, sampling), seed + start
        if endpoint.may_take(samples):
            async with endpoint.probing:
                if endpoint.may_take(samples):  # nobody else has found out meanwhile
                    return await self._probe(endpoint, model, body, samples, seed)
        return await self._request(endpoint, model, body, min(samples, endpoint.accepted_n), seed)

    async def _probe(
        self, endpoint: _Endpoint, model: Model, body: dict[str, Any], wanted: int, seed: int
    ) -> Completions:
        """Ask for more choices than ever before, for fewer when rejected, and remember what the server takes."""
        n = wanted if endpoint.refused_n is None else min(wanted, endpoint.refused_n - 1)
        refused = endpoint.refused_n
        while True:
            try:
                completions = await self._request(endpoint, model, body, n, seed)
            except EndpointError as error:
                if n <= endpoint.accepted_n or not _is_refusal(error):
                    raise
                refused, n = n, max(endpoint.accepted_n, n // 2)
                continue
            given = len(completions.samples)
            if given < n:
                refused = given + 1
            endpoint.accepted_n = max(endpoint.accepted_n, min(n, given))
            endpoint.refused_n = endpoint.accepted_n + 1 if refused else None
            return completions

    async def _request(self, endpoint: _Endpoint, model: Model, body: dict[str, Any], n: int, seed: int) -> Completions:
        from openai import APIStatusError

        request = {**body, **({"n": n} if n > 1 else {}), **({"seed": seed % _MAX_SEED} if endpoint.takes_seed else {})}
        where = f"{_who(model)} at {shown_url(endpoint.url)}"
        with _translated(where, endpoint):
            try:
                async with self._slots:
                    # `chat.completions.create` is this, and as much work again for types that nobody reads here.
                    answer = await endpoint.client.post("/chat/completions", cast_to=object, body=request)
            except APIStatusError as error:
                if not (endpoint.takes_seed and error.status_code in REFUSED and "seed" in error.message):
                    raise
                endpoint.takes_seed = False
                return await self._request(endpoint, model, body, n, seed)
        try:
            return await self._completions(endpoint, answer)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise EndpointError(f"{where} answered without a completion") from error

    async def embed(self, model: Model, text: str) -> Completions:
        answer = await self._embedding(model, text)
        tokens = answer.usage.prompt_tokens if answer.usage else 0
        return Completions((Sample(json.dumps(_vector(answer)), 0),), tokens)

    async def _embedding(self, model: Model, text: str) -> CreateEmbeddingResponse:
        """An answer that holds an embedding."""
        endpoint = self._endpoint(model)
        where = f"{_who(model)} at {shown_url(endpoint.url)}"
        with _translated(where, endpoint):
            async with self._slots:
                answer = await endpoint.client.embeddings.create(
                    model=model.served_name, input=text, encoding_format="float"
                )
            if _vector(answer) is None:
                raise EndpointError(f"{where} answered without an embedding", status=200)
        return answer

    async def check_embeddings(self, model: Model) -> str:
        try:
            answer = await self._embedding(model, _PROBE)
        except EndpointError as error:
            if error.unavailable and error.status not in _UNSUPPORTED:
                raise
            raise ConfigError(
                f"no embeddings from {_who(model)}, which the task needs: {error}; name a model and an endpoint that "
                "have them"
            ) from error
        return SIMULATED if getattr(answer, "simulation", False) is True else ""

    async def _completions(self, endpoint: _Endpoint, answer: Any) -> Completions:
        """What an answer of the chat API holds.

        Raises:
            KeyError: And AttributeError, TypeError or ValueError: it holds no completion.
        """
        choices, usage = answer["choices"], answer.get("usage") or {}
        if not choices:
            raise ValueError("no choices")
        texts = [storable(choice["message"].get("content") or "") for choice in choices]
        total = int(usage.get("completion_tokens", 0))
        endpoint.miscounts |= "timings" in answer  # llama.cpp alone has these
        if endpoint.miscounts and len(texts) > 1:
            stopped = [choice.get("finish_reason") == "stop" for choice in choices]
            counts = await tokens_by_llama_cpp(endpoint.client, endpoint.url, texts, stopped)
            counts = counts or tokens_by_length(total * len(texts), texts)
        else:
            counts = tokens_by_length(total, texts)
        samples = tuple(Sample(text, count) for text, count in zip(texts, counts, strict=True))
        return Completions(samples, int(usage.get("prompt_tokens", 0)))

    def route(self, urls: Mapping[str, str]) -> None:
        self._routes.update(urls)

    async def check(self, models: Sequence[Model]) -> str:
        served: dict[str, dict[str, str] | None] = {}
        for model in models:
            endpoint = self._endpoint(model)
            if endpoint.url not in served:
                served[endpoint.url] = await served_models(endpoint.client, endpoint.url, who=_who(model))
            require_served(model.served_name, served[endpoint.url], endpoint.url, endpoint.client.api_key)
        owners = {owner for names in served.values() for owner in (names or {}).values()}
        return SIMULATED if SIMULATION in owners else ""

    async def prefix_cache(self, model: Model) -> CacheUse | None:
        """What a model's server has counted of its prefix cache; None where it does not tell."""
        from openai import OpenAIError

        endpoint = self._endpoint(model)
        if not endpoint.tells_cache or endpoint.url == DEFAULT_BASE_URL:
            return None
        client = endpoint.client.with_options(timeout=_METRICS_TIMEOUT_S, max_retries=0)
        try:
            url = endpoint.url.removesuffix("/").removesuffix("/v1") + "/metrics"
            use = read_metrics(await client.get(url, cast_to=str), model.served_name)
        except (OpenAIError, ValueError):
            use = None
        endpoint.tells_cache = use is not None
        return use

    async def close(self) -> None:
        for endpoint in self._endpoints.values():
            await endpoint.client.close()
        self._endpoints.clear()
        # A semaphore belongs to the event loop it was first waited for in; the next run may have another.
        self._slots = asyncio.Semaphore(self._max_in_flight)

    def _endpoint(self, model: Model) -> _Endpoint:
        url = self.url(model)
        known = self._endpoints.get((url, model.api_key_env))
        if known is None:
            client = openai_client(url, model.api_key_env, timeout_s=self._timeout_s, max_retries=self._max_retries)
            known = self._endpoints[url, model.api_key_env] = _Endpoint(url, client)
        return known


@contextmanager
def _translated(where: str, endpoint: _Endpoint) -> Iterator[None]:
    """Whatever the official client raises is one sentence that names the model and the endpoint."""
    from openai import APIConnectionError, APIStatusError, APITimeoutError, OpenAIError

    try:
        yield
    except APIStatusError as error:
        raise refusal(error, where, endpoint.client.api_key, endpoint.url) from error
    except OpenAIError as error:
        reason = type(error.__cause__ or error).__name__
        # Who takes no connection is not there; who takes one and says nothing may be busy.
        slow = isinstance(error, APITimeoutError) and reason != "ConnectTimeout"
        gone = isinstance(error, APIConnectionError) and not slow
        raise EndpointError(f"{where} did not answer: {reason}", unreachable=gone) from error
    except ValueError as error:
        raise EndpointError(f"{where} answered something that is not JSON") from error


def _vector(answer: Any) -> list[float] | None:
    """The numbers of an answer; None where it holds none."""
    try:
        return [float(number) for number in answer.data[0].embedding] or None
    except (AttributeError, IndexError, TypeError, ValueError):
        return None


def _who(model: Model) -> str:
    return f"model {model.name!r}"


def _body(model: Model, messages: Sequence[Message], sampling: Sampling) -> dict[str, Any]:
    body: dict[str, Any] = {
        "model": model.served_name,
        "messages": list(messages),
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "max_tokens": sampling.max_tokens,
    }
    if sampling.stop:
        body["stop"] = list(sampling.stop)
    return body | dict(sampling.extra)


def _is_refusal(error: EndpointError) -> bool:
    """Whether the server understood the request and rejected it, as it does when `n` is unknown or too large."""
    return error.status in REFUSED
