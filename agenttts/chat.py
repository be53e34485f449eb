"""What everyone who asks an OpenAI-compatible endpoint shares: its client, its errors, the models it serves.

`ChatModel` is one model that a searcher asks, a question at a time. Keys come from the environment and appear in no
message; URLs are shown without user, password and query.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Collection
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import unquote

from agenttts.errors import ConfigError, EndpointError
from agenttts.evaluation import Spend
from agenttts.text import scrubbed, storable

if TYPE_CHECKING:
    from openai import APIStatusError, AsyncOpenAI
    from openai.types.chat import ChatCompletion

DEFAULT_BASE_URL = "https://api.openai.com/v1"
DEFAULT_MODEL = "o3-mini"
"""The paper's search model."""
SIMULATION = "agenttts-simulation"
"""Who owns the models of a simulated server, and so how one is known."""
REFUSED = (400, 422)
"""Statuses by which a server says that it understood a request and declines it."""
NO_KEY = "none"
"""Sent where there is no key."""
_MOST_SHOWN = 4000
"""Characters of what a server wrote that are looked at for an error."""
_TIMEOUT_S = 300.0
_MAX_RETRIES = 5
_CHECK_TIMEOUT_S = 20.0


def endpoint_url(base_url: str | None) -> str:
    """The endpoint meant: the given one, else that of OPENAI_BASE_URL, else OpenAI's own."""
    return base_url or os.environ.get("OPENAI_BASE_URL") or DEFAULT_BASE_URL


def openai_client(url: str, api_key_env: str, *, timeout_s: float, max_retries: int) -> AsyncOpenAI:
    """An official client of one endpoint, with the key from the environment.

    Raises:
        ConfigError: When api.openai.com is meant and the key's environment variable is not set.
    """
    from openai import AsyncOpenAI, DefaultAioHttpClient

    if lacks_key(url, api_key_env):
        raise ConfigError(
            f"no key for {shown_url(url)}: set the environment variable {api_key_env}, or name another endpoint with "
            "base_url or OPENAI_BASE_URL"
        )
    # Servers of one's own need no key, but the official client refuses to start without one.
    key = os.environ.get(api_key_env) or NO_KEY
    # The default transport takes half as much CPU time again for a request (benchmarks/engine.py), but aiohttp refuses
    # a key beside a user and password in the URL.
    transport = None if "@" in url else DefaultAioHttpClient(timeout=timeout_s)
    return AsyncOpenAI(base_url=url, api_key=key, timeout=timeout_s, max_retries=max_retries, http_client=transport)


def lacks_key(url: str, api_key_env: str) -> bool:
    """Whether a key is certainly needed and not there."""
    return url == DEFAULT_BASE_URL and not os.environ.get(api_key_env)


async def served_models(client: AsyncOpenAI, url: str, *, who: str) -> dict[str, str] | None:
    """Names of the models that an endpoint serves, and their owners; None when it does not tell. Buys nothing.

    Args:
        client: Its client.
        url: The endpoint.
        who: Whom it is asked for, as errors name it.

    Raises:
        EndpointError: When it cannot be reached, refuses the key, or is no OpenAI-compatible endpoint.
    """
    from openai import APIStatusError, OpenAIError

    try:
        impatient = client.with_options(max_retries=1, timeout=_CHECK_TIMEOUT_S)
        return {served.id: served.owned_by async for served in impatient.models.list()}
    except APIStatusError as error:
        if error.status_code in (404, 405, 501):
            return None
        raise refusal(error, f"{who} at {shown_url(url)}", client.api_key, url) from error
    except OpenAIError as error:
        raise EndpointError(
            f"cannot reach {shown_url(url)}, the endpoint of {who}: "
            "start its server, or mend base_url or OPENAI_BASE_URL"
        ) from error
    except (AttributeError, TypeError, ValueError) as error:
        raise EndpointError(
            f"{shown_url(url)} does not answer like an OpenAI-compatible endpoint: its base URL usually ends in /v1"
        ) from error


def require_served(name: str, served: Collection[str] | None, url: str, key: str = "") -> None:
    """Make sure that a model is among those served, where the endpoint tells.

    Raises:
        ConfigError: When it is not; the message lists those served.
    """
    if served is not None and name not in served:
        known = scrubbed(", ".join(served)[:_MOST_SHOWN], _sent(url, key)) or "none"
        raise ConfigError(f"{shown_url(url)} does not serve the model {name!r}; it serves {known}")


def refusal(error: APIStatusError, where: str, key: str, url: str) -> EndpointError:
    """The error of a request that a server answered with a status: its complaint's first line, without any secret.

    Args:
        error: The official client's error.
        where: Who was asked, and where.
        key: The key that was sent.
        url: Where it was sent, with the user, the password and the query that were sent with it.
    """
    sent = _sent(url, key)
    lines = scrubbed(str(error.message)[:_MOST_SHOWN], sent).strip().splitlines()
    reason = (lines[0] if lines else "no reason given")[:300]
    request = f" (request {scrubbed(error.request_id, sent)[:100]})" if error.request_id else ""
    return EndpointError(f"{where} answered {error.status_code}: {reason}{request}", status=error.status_code)


def shown_url(url: str) -> str:
    """The URL without anything that may be a secret: no user, no password (whatever is in it), no query.

    Where an @ stands in what may be a query or else a password with odd characters, only the scheme is shown.
    """
    scheme, separator, rest = url.partition("://") if "://" in url else ("", "", url)
    server, path = _parts(rest)
    return f"{scheme}{separator}***" if "@" in path else f"{scheme}{separator}{server}{re.split('[?#]', path)[0]}"


def _parts(rest: str) -> tuple[str, str]:
    """What follows a URL's scheme: the server without user and password, and everything after it."""
    authority = re.split(r"[/?#]", rest, maxsplit=1)[0]
    return authority.rpartition("@")[2], rest[len(authority) :]


def _sent(url: str, key: str) -> list[str]:
    """Every secret that a server is told with a request: the key, and the URL's user, password and query."""
    rest = url.partition("://")[2]
    user_part = re.split(r"[/?#]", rest, maxsplit=1)[0].rpartition("@")[0]
    user, _, password = user_part.partition(":")
    query = re.split(r"[?#]", rest, maxsplit=1)[1:]
    values = [part.partition("=")[2] for text in query for part in re.split("[&;#]", text)]
    # The official client writes "user:password" decoded, in base64.
    credential = f"{unquote(user)}:{unquote(password)}" if user_part else ""
    found = [key, user_part, credential, user, password, *query, *values]
    return [secret for secret in found if secret not in ("", NO_KEY)]


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
        """Make sure, without buying anything, that the model can be asked.

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
            schema: JSON schema of the reply, put to the server until it refuses one; the prompt must ask for JSON too.

        Raises:
            EndpointError: When the endpoint refuses, keeps failing, or answers without a completion.
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
