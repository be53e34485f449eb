"""One chat model that a searcher asks, a question at a time."""

from __future__ import annotations

import time
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from agenttts._util.text import storable
from agenttts.errors import ConfigError, EndpointError
from agenttts.llm.endpoint import (
    REFUSED,
    endpoint_url,
    lacks_key,
    openai_client,
    refusal,
    require_served,
    served_models,
    shown_url,
)
from agenttts.llm.samples import Spend

if TYPE_CHECKING:
    from openai import AsyncOpenAI
    from openai.types.chat import ChatCompletion

DEFAULT_MODEL = "o3-mini"
"""The paper's search model."""
_TIMEOUT_S = 300.0
_MAX_RETRIES = 5


@dataclass(frozen=True)
class Answer:
    """What a chat model replied, and what that took."""

    text: str
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
        """Make sure, without paying for anything, that the model can be asked.

        Raises:
            ConfigError: When the endpoint does not serve the model; the message lists those it does.
            EndpointError: When the endpoint cannot be reached or does not accept the key.
        """
        async with self._client() as client:
            served = await served_models(client, self._url, who=self._who)
            require_served(self.name, served, self._url, client.api_key)

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
        async with self._client() as client:
            completion = await self._complete(client, messages, schema if self._takes_schema else None)
        usage = completion.usage
        spend = Spend(
            requests=1,
            prompt_tokens=usage.prompt_tokens if usage else 0,
            completion_tokens=usage.completion_tokens if usage else 0,
            seconds=time.perf_counter() - started,
        )
        return Answer(storable(completion.choices[0].message.content or ""), spend)

    async def _complete(
        self, client: AsyncOpenAI, messages: list[dict[str, str]], schema: dict[str, Any] | None
    ) -> ChatCompletion:
        from openai import APIStatusError, OpenAIError
        from openai.types.chat import ChatCompletion

        where = f"{self._who} at {shown_url(self._url)}"
        body: dict[str, Any] = {"model": self.name, "messages": messages}
        if schema is not None:
            form = {"name": "reply", "strict": True, "schema": schema}
            body["response_format"] = {"type": "json_schema", "json_schema": form}
        try:
            completion = await client.chat.completions.create(**body)
        except APIStatusError as error:
            if schema is None or error.status_code not in REFUSED:
                raise refusal(error, where, client.api_key, self._url) from error
            completion = await self._complete(client, messages, None)
            self._takes_schema = False  # since without it the server answered
        except (OpenAIError, ValueError) as error:
            raise EndpointError(f"{where} did not answer: {type(error).__name__}") from error
        if not isinstance(completion, ChatCompletion) or not completion.choices:
            raise EndpointError(f"{where} answered without a completion")
        return completion

    def _client(self) -> AsyncOpenAI:
        return openai_client(self._url, self._key_env, timeout_s=_TIMEOUT_S, max_retries=_MAX_RETRIES)

    @property
    def _who(self) -> str:
        return f"the planner's model {self.name!r}"
