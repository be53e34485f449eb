"""The client of OpenAI-compatible endpoints: completions of one prompt, with honest token counts.

How long is waited and what is asked for again is said in `llm.asking`. What servers differ in is learned once per
endpoint: how many choices they return at once (`n=`), and whether their usage counts all of them. llama.cpp counts
only one choice, so its completions are counted with its own tokenizer.
"""

from __future__ import annotations

import asyncio
import json
import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from agenttts.errors import ConfigError, EndpointError
from agenttts.llm.answers import Choices, read_choices
from agenttts.llm.asking import Asker, NotAnAnswer, Patience
from agenttts.llm.endpoint import DEFAULT_BASE_URL, REFUSED, SIMULATION, endpoint_url, require_served, served_models
from agenttts.llm.prefix_cache import CacheUse, read_metrics
from agenttts.llm.pulse import GIVE_UP_AFTER_S
from agenttts.llm.samples import Completions, Sample
from agenttts.llm.token_counts import (
    completion_tokens_by_length,
    prompt_tokens_by_length,
    tokens_by_length,
    tokens_by_llama_cpp,
    told_completion_tokens,
    told_prompt_tokens,
)
from agenttts.pipeline import Message, Model, Sampling

SIMULATED = "simulated models; no LLM runs"
"""What is said of the answers of a simulated server."""
TIMEOUT_S = 120.0
MAX_RETRIES = 5
MAX_IN_FLIGHT = 64
_MAX_SEED = 2**31
_METRICS_TIMEOUT_S = 5.0
_PROBE = "ready"
_COMPLETIONS, _EMBEDDINGS = "/chat/completions", "/embeddings"
_UNSUPPORTED = (200, 404, 405, 501)
"""Statuses of a server that has no embeddings, though they also mean that it is at fault."""
_SHOWN = 200

_log = logging.getLogger(__name__)


@dataclass
class _Endpoint:
    asker: Asker
    accepted_n: int = 1
    """Most choices that the server has returned at once."""
    refused_n: int | None = None
    """Fewest choices that the server has refused."""
    miscounts: bool = False
    """Its usage counts one choice only (llama.cpp)."""
    takes_seed: bool = True
    tells_cache: bool = True
    """Whether it may count the use of its prefix cache."""
    tells_usage: bool = True
    """Whether its usage has always been one that can be."""
    cut: set[str] = field(default_factory=set)
    """Models of which it has been said that their tokens were used up before they said anything."""
    probing: asyncio.Lock = field(default_factory=asyncio.Lock)

    @property
    def url(self) -> str:
        return self.asker.url

    def may_take(self, n: int) -> bool:
        """Whether it is unknown if the server takes more choices than it ever has."""
        return n > self.accepted_n and self.refused_n != self.accepted_n + 1


class OpenAIClient:
    """The official `openai` async client, one connection pool per endpoint.

    Args:
        max_in_flight: Requests under way at once, over all endpoints.
        timeout_s: Seconds that one request may take in all.
        max_retries: Retries of a request that got no answer (see `llm.asking`).
        give_up_after_s: Seconds without any answer after which an endpoint is given up.
    """

    def __init__(
        self,
        *,
        max_in_flight: int = MAX_IN_FLIGHT,
        timeout_s: float = TIMEOUT_S,
        max_retries: int = MAX_RETRIES,
        give_up_after_s: float = GIVE_UP_AFTER_S,
    ) -> None:
        self.patience = Patience(timeout_s=timeout_s, max_retries=max_retries, give_up_after_s=give_up_after_s)
        self._max_in_flight = max_in_flight
        self._slots = asyncio.Semaphore(max_in_flight)
        self._endpoints: dict[tuple[str, str], _Endpoint] = {}
        self._routes: dict[str, str] = {}

    def with_limits(self, *, timeout_s: float, max_retries: int) -> OpenAIClient:
        """A client with the same routes that waits for less, or for more."""
        other = OpenAIClient(
            max_in_flight=self._max_in_flight,
            timeout_s=timeout_s,
            max_retries=max_retries,
            give_up_after_s=self.patience.give_up_after_s,
        )
        other.route(self._routes)
        return other

    def give_up_after(self, seconds: float) -> None:
        """Give an endpoint up after so many seconds without any answer; for endpoints that have not been asked yet."""
        self.patience = replace(self.patience, give_up_after_s=seconds)

    @property
    def waiting(self) -> str:
        """What has been waited for for long, in words; empty where nothing is."""
        return "; ".join(notice for each in self._endpoints.values() if (notice := each.asker.pulse.notice))

    def url(self, model: Model) -> str:
        """Where a model is asked."""
        return endpoint_url(self._routes.get(model.served_name) or model.base_url)

    async def complete(
        self, model: Model, messages: Sequence[Message], sampling: Sampling, *, start: int, samples: int, seed: int
    ) -> Completions:
        endpoint, body, seed = self._endpoint(model), _body(model, messages, sampling), seed + start

        async def attempt() -> Choices:
            if endpoint.may_take(samples):
                async with endpoint.probing:
                    if endpoint.may_take(samples):  # nobody else has found out meanwhile
                        return await self._probe(endpoint, model, body, samples, seed)
            return await self._request(endpoint, model, body, min(samples, endpoint.accepted_n), seed)

        choices = await endpoint.asker.persist(_who(model), attempt)
        return await self._counted(endpoint, model, choices, messages, _most_tokens(sampling))

    async def _probe(self, endpoint: _Endpoint, model: Model, body: dict[str, Any], wanted: int, seed: int) -> Choices:
        """Ask for more choices than ever before, for fewer when refused, and remember what the server takes."""
        n = wanted if endpoint.refused_n is None else min(wanted, endpoint.refused_n - 1)
        refused = endpoint.refused_n
        while True:
            try:
                choices = await self._request(endpoint, model, body, n, seed)
            except EndpointError as error:
                if n <= endpoint.accepted_n or not _is_refusal(error):
                    raise
                refused, n = n, max(endpoint.accepted_n, n // 2)
                continue
            if choices.given < n:
                refused = choices.given + 1
            endpoint.accepted_n = max(endpoint.accepted_n, min(n, choices.given))
            endpoint.refused_n = endpoint.accepted_n + 1 if refused else None
            return choices

    async def _request(self, endpoint: _Endpoint, model: Model, body: dict[str, Any], n: int, seed: int) -> Choices:
        """One request, put once more where the server takes no seed."""
        request = {**body, **({"n": n} if n > 1 else {}), **({"seed": seed % _MAX_SEED} if endpoint.takes_seed else {})}
        try:
            return await endpoint.asker.once(_who(model), _COMPLETIONS, request, lambda answer: read_choices(answer, n))
        except EndpointError as error:
            if not (endpoint.takes_seed and _is_refusal(error) and "seed" in str(error)):
                raise
            endpoint.takes_seed = False
            return await self._request(endpoint, model, body, n, seed)

    async def _counted(
        self, endpoint: _Endpoint, model: Model, choices: Choices, messages: Sequence[Message], most: int
    ) -> Completions:
        """The completions with their tokens: as the server tells them, else by length."""
        texts = [choice.text for choice in choices.usable]
        prompt = told_prompt_tokens(choices.usage, messages)
        total = told_completion_tokens(choices.usage, texts, most)
        if prompt is None or total is None:
            self._tell_of_usage(endpoint, model, choices.usage)
        endpoint.miscounts |= choices.timed  # llama.cpp alone has these
        counts = None
        if endpoint.miscounts and len(texts) > 1:
            stopped = [choice.finish_reason == "stop" for choice in choices.usable]
            counts = await tokens_by_llama_cpp(endpoint.asker.client, endpoint.url, texts, stopped)
            total = None if total is None else min(total * len(texts), most * len(texts))
        if counts is None and total is not None:
            counts = tokens_by_length(total, texts)
        if counts is None:
            counts = [
                completion_tokens_by_length(choice.text, most, cut=choice.finish_reason == "length")
                for choice in choices.usable
            ]
        if any(choice.ended == "cut" for choice in choices.usable):
            self._tell_of_cut(endpoint, model, most)
        samples = (
            Sample(choice.text, min(max(count, 0), most + 1), choice.ended)
            for choice, count in zip(choices.usable, counts, strict=True)
        )
        return Completions(tuple(samples), prompt_tokens_by_length(messages) if prompt is None else prompt)

    def _tell_of_usage(self, endpoint: _Endpoint, model: Model, usage: Any) -> None:
        if endpoint.tells_usage:
            endpoint.tells_usage = False
            told = "no usage" if usage is None else f"a usage that cannot be ({str(usage)[:_SHOWN]})"
            _log.warning("%s at %s tells %s: its tokens are counted by length", _who(model), endpoint.asker.shown, told)

    def _tell_of_cut(self, endpoint: _Endpoint, model: Model, most: int) -> None:
        if model.served_name not in endpoint.cut:
            endpoint.cut.add(model.served_name)
            _log.warning(
                "%s used up max_tokens=%d before it said anything: such samples count as unparsable; give its subtask "
                "a larger max_tokens",
                _who(model),
                most,
            )

    async def embed(self, model: Model, text: str) -> Completions:
        answer = await self._embedding(model, text)
        messages = [{"content": text}]
        tokens = told_prompt_tokens(answer.get("usage"), messages)
        tokens = prompt_tokens_by_length(messages) if tokens is None else tokens
        return Completions((Sample(json.dumps(_vector(answer)), 0),), tokens)

    async def _embedding(self, model: Model, text: str) -> Mapping[str, Any]:
        """An answer that holds an embedding."""
        asker = self._endpoint(model).asker
        body = {"model": model.served_name, "input": text, "encoding_format": "float"}

        def read(answer: Any) -> Mapping[str, Any]:
            _vector(answer)
            return dict(answer)

        return await asker.persist(_who(model), lambda: asker.once(_who(model), _EMBEDDINGS, body, read))

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
        return SIMULATED if answer.get("simulation") is True else ""

    def route(self, urls: Mapping[str, str]) -> None:
        self._routes.update(urls)

    async def check(self, models: Sequence[Model]) -> str:
        served: dict[str, dict[str, str] | None] = {}
        for model in models:
            endpoint = self._endpoint(model)
            if endpoint.url not in served:
                served[endpoint.url] = await served_models(endpoint.asker.client, endpoint.url, who=_who(model))
            require_served(model.served_name, served[endpoint.url], endpoint.url, endpoint.asker.client.api_key)
        owners = {owner for names in served.values() for owner in (names or {}).values()}
        return SIMULATED if SIMULATION in owners else ""

    async def prefix_cache(self, model: Model) -> CacheUse | None:
        """What a model's server has counted of its prefix cache; None where it does not tell."""
        from openai import OpenAIError

        endpoint = self._endpoint(model)
        if not endpoint.tells_cache or endpoint.url == DEFAULT_BASE_URL:
            return None
        client = endpoint.asker.client.with_options(timeout=_METRICS_TIMEOUT_S, max_retries=0)
        try:
            url = endpoint.url.removesuffix("/").removesuffix("/v1") + "/metrics"
            async with asyncio.timeout(_METRICS_TIMEOUT_S):
                use = read_metrics(await client.get(url, cast_to=str), model.served_name)
        except (OpenAIError, ValueError, TimeoutError):
            use = None
        endpoint.tells_cache = use is not None
        return use

    async def close(self) -> None:
        for endpoint in self._endpoints.values():
            await endpoint.asker.close()
        self._endpoints.clear()
        # A semaphore belongs to the event loop it was first waited for in; the next run may have another.
        self._slots = asyncio.Semaphore(self._max_in_flight)

    def _endpoint(self, model: Model) -> _Endpoint:
        url = self.url(model)
        known = self._endpoints.get((url, model.api_key_env))
        if known is None:
            asker = Asker(url, model.api_key_env, self.patience, self._slots)
            known = self._endpoints[url, model.api_key_env] = _Endpoint(asker)
        return known


def _vector(answer: Any) -> list[float]:
    """The numbers of an answer.

    Raises:
        NotAnAnswer: When it holds none; LookupError, TypeError and ValueError mean the same.
    """
    numbers = [float(number) for number in answer["data"][0]["embedding"]]
    if not numbers or not all(map(math.isfinite, numbers)):
        raise NotAnAnswer("no embedding")
    return numbers


def _most_tokens(sampling: Sampling) -> int:
    """Most tokens that a sample may have, where the request's further fields raise the limit, too."""
    given = [sampling.extra.get(name) for name in ("max_tokens", "max_completion_tokens")]
    return max([sampling.max_tokens, *(number for number in given if type(number) is int)])


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
    """Whether the server understood the request and declined it, as it does when `n` is unknown or too large."""
    return error.status in REFUSED
