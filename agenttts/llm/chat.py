"""One chat model that a searcher asks, a question at a time."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from agenttts._util.text import bounded, storable
from agenttts.llm.answers import Choices, read_choices
from agenttts.llm.asking import Asker, Patience
from agenttts.llm.dialect import Dialect
from agenttts.llm.endpoint import address
from agenttts.llm.samples import Spend
from agenttts.llm.served import require_served, served_models
from agenttts.llm.token_counts import (
    completion_tokens_by_length,
    prompt_tokens_by_length,
    told_cached_tokens,
    told_completion_tokens,
    told_prompt_tokens,
    told_reasoning_tokens,
)
from agenttts.pipeline.tariff import listed

DEFAULT_MODEL = "o3-mini"
"""The paper's search model."""
_PATIENCE = Patience(timeout_s=300, max_retries=5)
_MOST_TOKENS = 2**20
"""More than any planner writes at once."""


@dataclass(frozen=True)
class Answer:
    """What a chat model replied, and what that took."""

    text: str
    """At most 65,536 characters: what is longer is cut off, and says so at its end."""
    spend: Spend


class ChatModel:
    """One chat model that a searcher asks. Entering it checks that it can be asked.

    Args:
        name: Its name at the endpoint.
        base_url: The endpoint; that of the environment variable OPENAI_BASE_URL, or OpenAI's own, when None.
        api_key_env: Environment variable that holds the key; when None as for `Model.api_key_env`.
        headers: Further headers of every request -> the environment variable that holds the value, as `Model.headers`.

    Raises:
        ConfigError: When a key, or the value of a header, is needed and not set.
    """

    def __init__(
        self,
        name: str = DEFAULT_MODEL,
        *,
        base_url: str | None = None,
        api_key_env: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self.name = name
        self._address = address(base_url, api_key_env, headers)
        self._address.sent(self._who)
        self._dialect = Dialect()

    async def __aenter__(self) -> Self:
        await self.check()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Nothing to close: no connection outlives its question."""

    async def check(self) -> None:
        """Make sure that the model can be asked: by the endpoint's list, else by one token that is charged to nobody.

        Raises:
            ConfigError: When the endpoint does not serve the model; the message names some that it does.
            EndpointError: When the endpoint cannot be reached or does not accept the key.
        """
        asker = self._asker()
        body = {"model": self.name, "messages": [{"role": "user", "content": "ready"}], "max_tokens": 1}
        try:
            served = await served_models(asker, self._who)
            await require_served(asker, self._who, self.name, served, lambda: self._asked(asker, body))
        finally:
            await asker.close()

    async def ask(self, prompt: str, *, system: str, schema: dict[str, Any] | None = None) -> Answer:
        """The model's answer to one prompt.

        Args:
            prompt: The user message.
            system: The system message.
            schema: JSON schema of the reply, sent to the server until it rejects one; the prompt must ask for JSON too.

        Raises:
            EndpointError: When the endpoint rejects the request, keeps failing, or answers without a completion.
        """
        started = time.perf_counter()
        messages = [{"role": "system", "content": storable(system)}, {"role": "user", "content": storable(prompt)}]
        asker = self._asker()
        try:
            choices = await self._complete(asker, messages, schema)
        finally:
            await asker.close()
        text, generated = choices.usable[0].text, choices.usable[0].generated
        asked = told_prompt_tokens(choices.usage, messages)
        completion = told_completion_tokens(choices.usage, [generated], _MOST_TOKENS)
        estimated = 0 if asked is not None else prompt_tokens_by_length(messages)
        if completion is None:
            completion = completion_tokens_by_length(generated, _MOST_TOKENS, cut=False)
            estimated += completion
        read = prompt_tokens_by_length(messages) if asked is None else asked
        cached, prices = told_cached_tokens(choices.usage, read), listed(self.name, self._address.url)
        spend = Spend(
            requests=1,
            prompt_tokens=read,
            completion_tokens=completion,
            cached_prompt_tokens=cached,
            usd=prices.usd(read, completion, cached) if prices else 0.0,
            reasoning_tokens=min(told_reasoning_tokens(choices.usage, 1), completion),
            estimated_tokens=estimated,
            seconds=time.perf_counter() - started,
        )
        return Answer(bounded(text), spend)

    async def _complete(self, asker: Asker, messages: list[dict[str, str]], schema: dict[str, Any] | None) -> Choices:
        body: dict[str, Any] = {"model": self.name, "messages": messages}
        if schema is not None:
            form = {"name": "reply", "strict": True, "schema": schema}
            body["response_format"] = {"type": "json_schema", "json_schema": form}

        return await asker.persist(self._who, lambda: self._asked(asker, body))

    async def _asked(self, asker: Asker, body: dict[str, Any]) -> Choices:
        """One request, put as the model takes it."""

        async def ask(request: dict[str, Any]) -> Choices:
            return await asker.once(self._who, "/chat/completions", request, lambda answer: read_choices(answer, 1))

        return await self._dialect.spoken(f"{self._who} at {asker.shown}", body, ask)

    def _asker(self) -> Asker:
        return Asker(self._address, self._who, _PATIENCE)

    @property
    def _who(self) -> str:
        return f"the planner's model {self.name!r}"
