"""One chat model that a searcher asks, a question at a time."""

from __future__ import annotations

import time
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from agenttts._util.text import bounded, storable
from agenttts.errors import ConfigError, EndpointError
from agenttts.llm.answers import Choices, read_choices
from agenttts.llm.asking import Asker, Patience
from agenttts.llm.endpoint import REFUSED, endpoint_url, lacks_key, require_served, served_models
from agenttts.llm.samples import Spend
from agenttts.llm.token_counts import (
    completion_tokens_by_length,
    prompt_tokens_by_length,
    told_completion_tokens,
    told_prompt_tokens,
)

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
        api_key_env: Environment variable that holds the key.

    Raises:
        ConfigError: When OpenAI's endpoint is meant and the key is not set.
    """

    def __init__(
        self, name: str = DEFAULT_MODEL, *, base_url: str | None = None, api_key_env: str = "OPENAI_API_KEY"
    ) -> None:
        self.name = name
        self._url = endpoint_url(base_url)
        self._key_env = api_key_env
        self._takes_schema = True
        if lacks_key(self._url, api_key_env):
            raise ConfigError(
                f"{self._who} needs a key: set {api_key_env}, or OPENAI_BASE_URL for an endpoint of your own"
            )

    async def __aenter__(self) -> Self:
        await self.check()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Nothing to close: no connection outlives its question."""

    async def check(self) -> None:
        """Make sure, without buying anything, that the model can be asked.

        Raises:
            ConfigError: When the endpoint does not serve the model; the message lists those it does.
            EndpointError: When the endpoint cannot be reached or does not accept the key.
        """
        asker = self._asker()
        try:
            served = await served_models(asker.client, self._url, who=self._who)
            require_served(self.name, served, self._url, asker.client.api_key)
        finally:
            await asker.close()

    async def ask(self, prompt: str, *, system: str, schema: dict[str, Any] | None = None) -> Answer:
        """The model's answer to one prompt.

        Args:
            prompt: The user message.
            system: The system message.
            schema: JSON schema of the reply, put to the server until it refuses one; the prompt must ask for JSON too.

        Raises:
            EndpointError: When the endpoint refuses, keeps failing, or answers without a completion.
        """
        started = time.perf_counter()
        messages = [{"role": "system", "content": storable(system)}, {"role": "user", "content": storable(prompt)}]
        asker = self._asker()
        try:
            choices = await self._complete(asker, messages, schema if self._takes_schema else None)
        finally:
            await asker.close()
        text = choices.usable[0].text
        asked = told_prompt_tokens(choices.usage, messages)
        completion = told_completion_tokens(choices.usage, [text], _MOST_TOKENS)
        if completion is None:
            completion = completion_tokens_by_length(text, _MOST_TOKENS, cut=False)
        spend = Spend(
            requests=1,
            prompt_tokens=prompt_tokens_by_length(messages) if asked is None else asked,
            completion_tokens=completion,
            seconds=time.perf_counter() - started,
        )
        return Answer(bounded(text), spend)

    async def _complete(self, asker: Asker, messages: list[dict[str, str]], schema: dict[str, Any] | None) -> Choices:
        body: dict[str, Any] = {"model": self.name, "messages": messages}
        if schema is not None:
            form = {"name": "reply", "strict": True, "schema": schema}
            body["response_format"] = {"type": "json_schema", "json_schema": form}

        async def attempt() -> Choices:
            return await asker.once(self._who, "/chat/completions", body, lambda answer: read_choices(answer, 1))

        try:
            return await asker.persist(self._who, attempt)
        except EndpointError as error:
            if schema is None or error.status not in REFUSED:
                raise
        choices = await self._complete(asker, messages, None)
        self._takes_schema = False  # since without it the server answered
        return choices

    def _asker(self) -> Asker:
        return Asker(self._url, self._key_env, _PATIENCE)

    @property
    def _who(self) -> str:
        return f"the planner's model {self.name!r}"
