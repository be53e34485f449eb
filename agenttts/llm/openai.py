"""The client of OpenAI-compatible endpoints: completions of one prompt, with honest token counts.

How long is waited and what is asked for again is said in `llm.asking`. What servers differ in is learned once per
endpoint and model: which fields they take (`llm.dialect`), how many choices they return at once (`n=`), and whether
their usage counts all of them (`llm.counting`).
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from agenttts.errors import ConfigError, EndpointError
from agenttts.llm.answers import Choices, read_choices, require_no_error
from agenttts.llm.asking import Asker, NotAnAnswer, Patience
from agenttts.llm.counting import AnswerCounter
from agenttts.llm.dialect import Dialect
from agenttts.llm.endpoint import SIMULATION, Address, address, endpoint_url, is_openai, server_url
from agenttts.llm.lanes import MAX_IN_FLIGHT, Lanes
from agenttts.llm.prefix_cache import CacheUse, read_metrics
from agenttts.llm.pulse import GIVE_UP_AFTER_S
from agenttts.llm.samples import Completions, Sample
from agenttts.llm.served import Served, require_served, served_models
from agenttts.llm.token_counts import most_tokens, prompt_tokens_by_length, told_prompt_tokens, whole_prompt
from agenttts.pipeline import Message, Model, Sampling

SIMULATED = "simulated models; no LLM runs"
"""What is said of the answers of a simulated server."""
TIMEOUT_S = 120.0
MAX_RETRIES = 5
_MAX_SEED = 2**31
_MOST_OF_32_BITS = 3.4028235e38
_METRICS_TIMEOUT_S = 5.0
_PROBE = "ready"
_COMPLETIONS, _EMBEDDINGS, _POOLING = "/chat/completions", "/embeddings", "/pooling"
_UNSUPPORTED = (200, 404, 405, 501)
"""Statuses of a server that has no embeddings, though they also mean that it is at fault."""
_REFUSED = (400, 422)
"""Statuses by which a server says that it understood a request and declines it, as where `n` is too large."""
_NOT_IMPLEMENTED, _FAULT = 501, 500
_MOST_FAULTS = 2
"""How often a server may fail with several choices, and answer with one, until it is asked for one only."""
_log = logging.getLogger(__name__)
_ONE_TOKEN = Sampling(temperature=None, top_p=None, max_tokens=1)


@dataclass
class _AtOnce:
    """How many choices a model returns at once."""

    accepted: int = 1
    """Most that it has returned."""
    refused: int | None = None
    """Fewest that it has rejected."""
    faults: int = 0
    """How often its server failed with several and answered with one."""
    probing: asyncio.Lock = field(default_factory=asyncio.Lock)
    failed: list[EndpointError] = field(default_factory=list)
    """Why probes failed, in their order: a failure is shared by all that waited for it."""

    def may_take(self, n: int) -> bool:
        """Whether it is unknown if it returns more than it ever has."""
        return n > self.accepted and self.refused != self.accepted + 1


@dataclass
class _Served:
    """One model at one endpoint."""

    asker: Asker
    counter: AnswerCounter
    dialect: Dialect = field(default_factory=Dialect)
    choices: _AtOnce = field(default_factory=_AtOnce)
    tells_cache: bool = True
    """Whether it may count the use of its prefix cache."""
    tells_logprobs: bool = True
    """Whether it is still to be said that it tells no log probabilities."""

    def tell_of_logprobs(self, who: str, choices: Choices) -> None:
        """Say once that log probabilities were asked for, and that a whole text came without."""
        lacking = any(choice.text and not choice.logprobs for choice in choices.usable)
        if self.tells_logprobs and lacking and "logprobs" not in self.dialect.left_out:
            self.tells_logprobs = False
            _log.warning("%s at %s tells no log probabilities: what needs them does without", who, self.asker.shown)


class OpenAIClient:
    """The official `openai` async client, one connection pool per endpoint.

    Args:
        max_in_flight: Requests under way at once, over all endpoints; fewer where an endpoint cannot keep up, and 64
            when None.
        timeout_s: Seconds that one request may take in all.
        max_retries: Retries of a request that got no answer (see `llm.asking`).
        give_up_after_s: Seconds without any answer after which an endpoint is given up.
    """

    def __init__(
        self,
        *,
        max_in_flight: int | None = None,
        timeout_s: float = TIMEOUT_S,
        max_retries: int = MAX_RETRIES,
        give_up_after_s: float = GIVE_UP_AFTER_S,
    ) -> None:
        self.patience = Patience(timeout_s=timeout_s, max_retries=max_retries, give_up_after_s=give_up_after_s)
        self.max_in_flight = max_in_flight
        self._slots = asyncio.Semaphore(self.most_at_once)
        self._askers: dict[Address, Asker] = {}
        self._models: dict[tuple[Address, str], _Served] = {}
        self._told: dict[tuple[Address, str], set[str]] = {}
        self._routes: dict[str, str] = {}
        self._dimensions: dict[tuple[Address, str], int] = {}
        """Numbers of an embedding."""

    def with_limits(self, *, timeout_s: float, max_retries: int) -> OpenAIClient:
        """A client with the same routes that waits for less, or for more."""
        other = OpenAIClient(max_in_flight=self.max_in_flight, give_up_after_s=self.patience.give_up_after_s)
        other.wait(timeout_s=timeout_s, max_retries=max_retries)
        other.route(self._routes)
        return other

    def wait(
        self,
        *,
        timeout_s: float | None = None,
        max_retries: int | None = None,
        max_in_flight: int | None = None,
        give_up_after_s: float | None = None,
    ) -> None:
        """Change how endpoints are waited for, of those that have not been asked yet.

        The figures are those of the constructor; None leaves one as it is.
        """
        given = {"timeout_s": timeout_s, "max_retries": max_retries, "give_up_after_s": give_up_after_s}
        changes: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
        self.patience = replace(self.patience, **changes)
        if max_in_flight is not None:
            self.max_in_flight, self._slots = max_in_flight, asyncio.Semaphore(max_in_flight)

    @property
    def most_at_once(self) -> int:
        """Requests under way at once."""
        return self.max_in_flight or MAX_IN_FLIGHT

    @property
    def waiting(self) -> str:
        """What has been waited for for long, in words; empty where nothing is."""
        return "; ".join(notice for each in self._askers.values() if (notice := each.pulse.notice))

    @property
    def is_asking(self) -> bool:
        """Whether any endpoint is being asked; also for other threads."""
        return any(each.pulse.is_waited_for for each in list(self._askers.values()))

    def url(self, model: Model) -> str:
        """Where a model is asked."""
        return endpoint_url(self._routes.get(model.served_name) or model.base_url)

    async def complete(
        self, model: Model, messages: Sequence[Message], sampling: Sampling, *, start: int, samples: int, seed: int
    ) -> Completions:
        drawn, served = model.sampling(sampling), self._served(model)
        request = _Asking(served, model, _body(model, messages, drawn), tuple(drawn.stop), seed + start)
        choices = await served.asker.persist(_who(model), lambda: request.answered(samples))
        if drawn.extra.get("logprobs"):
            served.tell_of_logprobs(_who(model), choices)
        if drawn.extra.get("tools"):
            choices = choices.with_calls(messages)
        prompt = whole_prompt(messages, drawn.extra)
        return await served.counter.counted(choices, prompt, most_tokens(drawn.max_tokens, drawn.extra))

    async def embed(self, model: Model, text: str) -> Completions:
        answer = await self._embedding(model, text)
        messages = [{"content": text}]
        tokens = told_prompt_tokens(answer.get("usage"), messages)
        tokens = prompt_tokens_by_length(messages) if tokens is None else tokens
        return Completions((Sample(json.dumps(_vector(answer)), 0),), tokens)

    async def reward(self, model: Model, messages: Sequence[Message]) -> Completions:
        asker, who = self._asker(model), _who(model)
        body = {"model": model.served_name, "messages": list(messages), **model.own_fields}
        where = server_url(asker.url) + _POOLING
        answer = await asker.persist(
            who, lambda: asker.once(who, where, body, lambda answer: (_reward(answer), answer))
        )
        tokens = told_prompt_tokens(answer[1].get("usage"), messages)
        tokens = prompt_tokens_by_length(messages) if tokens is None else tokens
        return Completions((Sample(json.dumps(answer[0]), 0),), tokens)

    async def _embedding(self, model: Model, text: str) -> Mapping[str, Any]:
        """An answer that holds an embedding, as long as the first one of its model: others cannot be compared."""
        asker = self._asker(model)
        body = {"model": model.served_name, "input": text, "encoding_format": "float"}

        def read(answer: Any) -> Mapping[str, Any]:
            given = len(_vector(answer))
            usual = self._dimensions.setdefault((asker.address, model.served_name), given)
            if given != usual:
                raise NotAnAnswer(f"an embedding of {given:,} numbers, and of {usual:,} before")
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
        listed: dict[Address, Served] = {}
        for model in models:  # first of all what costs no request: keys, headers, addresses
            self._asker(model)
        for model in models:
            asker, where = self._asker(model), self._address(model)
            if where not in listed:
                listed[where] = await served_models(asker, _who(model))
            await require_served(asker, _who(model), model.served_name, listed[where], lambda: self._one_token(model))  # noqa: B023
        owners = {owner for names in listed.values() for owner in names.values()}
        return SIMULATED if SIMULATION in owners else ""

    async def _one_token(self, model: Model) -> Choices:
        """Ask a model for one token, which is charged to nobody."""
        body = _body(model, [{"role": "user", "content": _PROBE}], model.sampling(_ONE_TOKEN))
        return await _Asking(self._served(model), model, body).answered(1)

    async def prefix_cache(self, model: Model) -> CacheUse | None:
        """What a model's server has counted of its prefix cache; None where it does not tell."""
        served = self._served(model)
        if not served.tells_cache or is_openai(served.asker.url):
            return None
        try:
            url = server_url(served.asker.url) + "/metrics"
            metrics = await served.asker.fetch(_who(model), url, timeout_s=_METRICS_TIMEOUT_S)
            use = read_metrics(metrics.decode("utf-8", "replace"), model.served_name)
        except (EndpointError, ValueError):
            use = None
        served.tells_cache = use is not None
        return use

    async def close(self) -> None:
        for asker in self._askers.values():
            await asker.close()
        self._askers.clear()
        self._models.clear()
        # A semaphore belongs to the event loop it was first waited for in; the next run may have another.
        self._slots = asyncio.Semaphore(self.most_at_once)

    def _address(self, model: Model) -> Address:
        return address(self._routes.get(model.served_name) or model.base_url, model.api_key_env, model.headers)

    def _asker(self, model: Model) -> Asker:
        where = self._address(model)
        if where not in self._askers:
            lanes = Lanes(self._slots, self.most_at_once)
            self._askers[where] = Asker(where, _who(model), self.patience, lanes)
        return self._askers[where]

    def _served(self, model: Model) -> _Served:
        """What is known of a model; of variants each by itself, for a server may take other fields of each."""
        key = self._address(model), model.name
        if key not in self._models:
            told = self._told.setdefault((key[0], model.served_name), set())
            counter = AnswerCounter(self._asker(model), _who(model), model.served_name)
            self._models[key] = _Served(self._asker(model), counter, Dialect(told=told))
        return self._models[key]


@dataclass(frozen=True)
class _Asking:
    """A request for completions of one prompt, made until the server takes it."""

    served: _Served
    model: Model
    body: Mapping[str, Any]
    stop: tuple[str, ...] = ()
    seed: int = 0

    async def answered(self, wanted: int) -> Choices:
        """At least one choice, at most as many as are wanted."""
        known = self.served.choices
        if not known.may_take(wanted):
            return await self._asked(min(wanted, known.accepted))
        failed = len(known.failed)
        async with known.probing:
            if len(known.failed) > failed:
                raise known.failed[-1]
            if known.may_take(wanted):  # nobody else has found out meanwhile
                return await self._probed(wanted)
        return await self._asked(min(wanted, known.accepted))

    async def _probed(self, wanted: int) -> Choices:
        """Ask for more choices than ever before, for fewer when refused, and remember how many there are at once."""
        known = self.served.choices
        try:
            return await self._probe(wanted if known.refused is None else min(wanted, known.refused - 1))
        except EndpointError as error:
            known.failed.append(error)
            raise

    async def _probe(self, n: int) -> Choices:
        known = self.served.choices
        refused, faults = known.refused, known.faults
        while True:
            try:
                choices = await self._asked(n)
            except EndpointError as error:
                if n <= known.accepted or error.status not in (*_REFUSED, _FAULT, _NOT_IMPLEMENTED):
                    raise
                understood = error.status in _REFUSED
                faults += not understood
                # A fault may be of the moment: that it is of `n` shows when it comes again.
                if understood or error.refused == "n" or error.status == _NOT_IMPLEMENTED or faults >= _MOST_FAULTS:
                    refused = n if understood else known.accepted + 1
                n = max(known.accepted, n // 2 if understood else 1)
                continue
            known.faults = faults
            if choices.given < n:
                refused = choices.given + 1
            known.accepted = max(known.accepted, min(n, choices.given))
            known.refused = known.accepted + 1 if refused else None
            return choices

    async def _asked(self, n: int) -> Choices:
        """One request, put as the model takes it."""
        who, asker = _who(self.model), self.served.asker
        body = {**self.body, **({"n": n} if n > 1 else {}), "seed": self.seed % _MAX_SEED}

        async def ask(request: dict[str, Any]) -> Choices:
            return await asker.once(who, _COMPLETIONS, request, lambda answer: read_choices(answer, n))

        choices = await self.served.dialect.spoken(f"{who} at {asker.shown}", body, ask, self.model.own_fields)
        return choices.stopped(self.stop) if "stop" in self.served.dialect.left_out else choices


def _vector(answer: Any) -> list[float]:
    """The numbers of an answer.

    Raises:
        NotAnAnswer: When it holds none; LookupError, TypeError and ValueError mean the same.
    """
    require_no_error(answer)
    given = answer["data"][0]["embedding"]
    if not isinstance(given, list) or not given:
        raise NotAnAnswer("no embedding")
    return [_float32(number) for number in given]


def _reward(answer: Any) -> float:
    """The last number of the last row: of a process reward model, the probability that the last step is right.

    Raises:
        NotAnAnswer: When there is none; LookupError, TypeError and ValueError mean the same.
    """
    require_no_error(answer)
    rows = answer["data"][0]["data"]
    return _float32(rows[-1][-1] if isinstance(rows[-1], list) else rows[-1])


def _float32(number: Any) -> float:
    """A number that a model can have given: they have 32 bits at most."""
    if type(number) not in (int, float) or not abs(number) <= _MOST_OF_32_BITS:
        raise NotAnAnswer(f"{number!r:.50} for a number")
    return float(number)


def _who(model: Model) -> str:
    return f"model {model.name!r}"


def _body(model: Model, messages: Sequence[Message], sampling: Sampling) -> dict[str, Any]:
    """A request; what is None is left out."""
    body = {
        "model": model.served_name,
        "messages": list(messages),
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "max_tokens": sampling.max_tokens,
        "stop": list(sampling.stop) or None,
        **sampling.extra,
    }
    return {name: value for name, value in body.items() if value is not None}
