"""What all clients of an OpenAI-compatible endpoint share: its HTTP client, its errors, the models it serves.

Keys come from the environment and appear in no message; URLs are shown without user, password and query.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
from collections.abc import Collection
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from agenttts._util.text import scrubbed
from agenttts.errors import ConfigError, EndpointError

if TYPE_CHECKING:
    from openai import APIStatusError, AsyncOpenAI

DEFAULT_BASE_URL = "https://api.openai.com/v1"
SIMULATION = "agenttts-simulation"
"""Owner of the models that a simulated server lists: by this it is recognised."""
REFUSED = (400, 422)
"""Statuses by which a server says that it understood a request and declines it."""
NO_KEY = "none"
"""Sent where there is no key."""
MOST_SHOWN = 4000
"""Characters of what a server wrote that are looked at for an error."""
_CHECK_TIMEOUT_S = 20.0


def endpoint_url(base_url: str | None) -> str:
    """The endpoint meant: the given one, else that of OPENAI_BASE_URL, else OpenAI's own."""
    return base_url or os.environ.get("OPENAI_BASE_URL") or DEFAULT_BASE_URL


def http_transport(url: str, *, timeout_s: float) -> Any:
    """The HTTP client through which the official one asks an endpoint: one of httpx, or of httpx2 as its successor."""
    from openai import DefaultAioHttpClient, DefaultAsyncHttpxClient, Timeout

    # The default transport takes half as much CPU time again for a request (benchmarks/engine.py), but aiohttp refuses
    # a key beside a user and password in the URL.
    return (DefaultAsyncHttpxClient if "@" in url else DefaultAioHttpClient)(
        timeout=Timeout(timeout_s, connect=min(timeout_s / 2, _CHECK_TIMEOUT_S)),
        follow_redirects=False,  # prompts and keys go to the endpoint that was named, and nowhere else
    )


def openai_client(url: str, api_key_env: str, transport: Any, *, timeout_s: float) -> AsyncOpenAI:
    """An official client of one endpoint, with the key from the environment; it does not retry by itself.

    Raises:
        ConfigError: When api.openai.com is meant and the key's environment variable is not set.
    """
    from openai import AsyncOpenAI

    if lacks_key(url, api_key_env):
        raise ConfigError(
            f"no key for {shown_url(url)}: set the environment variable {api_key_env}, or name another endpoint with "
            "base_url or OPENAI_BASE_URL"
        )
    # Servers of one's own need no key, but the official client refuses to start without one.
    key = os.environ.get(api_key_env) or NO_KEY
    return AsyncOpenAI(base_url=url, api_key=key, timeout=timeout_s, max_retries=0, http_client=transport)


def lacks_key(url: str, api_key_env: str) -> bool:
    """Whether a key is certainly needed and not there."""
    return url == DEFAULT_BASE_URL and not os.environ.get(api_key_env)


async def served_models(client: AsyncOpenAI, url: str, *, who: str) -> dict[str, str] | None:
    """Names of the models that an endpoint serves, and their owners; None when it does not tell. Costs nothing.

    Args:
        client: Its client.
        url: The endpoint.
        who: Whom it is asked for, as errors name it.

    Raises:
        EndpointError: When it cannot be reached, rejects the key, or is no OpenAI-compatible endpoint.
    """
    from openai import APIStatusError, OpenAIError

    try:
        impatient = client.with_options(max_retries=1, timeout=_CHECK_TIMEOUT_S)
        async with asyncio.timeout(2 * _CHECK_TIMEOUT_S):
            return {served.id: served.owned_by async for served in impatient.models.list()}
    except APIStatusError as error:
        if error.status_code in (404, 405, 501):
            return None
        raise refusal(error, f"{who} at {shown_url(url)}", client.api_key, url) from error
    except (OpenAIError, TimeoutError) as error:
        raise EndpointError(
            f"cannot reach {shown_url(url)}, the endpoint of {who}: "
            "start its server, or correct base_url or OPENAI_BASE_URL"
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
        known = scrubbed(", ".join(served)[:MOST_SHOWN], sent_secrets(url, key)) or "none"
        raise ConfigError(f"{shown_url(url)} does not serve the model {name!r}; it serves {known}")


def refusal(error: APIStatusError, where: str, key: str, url: str) -> EndpointError:
    """The error of a request that a server answered with a status: its complaint's first line, without any secret.

    Args:
        error: The official client's error.
        where: The model and the endpoint that were asked, in words.
        key: The key that was sent.
        url: Where it was sent, with the user, the password and the query that were sent with it.
    """
    sent = sent_secrets(url, key)
    lines = scrubbed(str(error.message)[:MOST_SHOWN], sent).strip().splitlines()
    reason = (lines[0] if lines else "no reason given")[:300]
    request = f" (request {scrubbed(error.request_id, sent)[:100]})" if error.request_id else ""
    return EndpointError(f"{where} answered {error.status_code}: {reason}{request}", status=error.status_code)


def complaint(body: str) -> str:
    """What the body of a refusal says, in words: its error's message, or all of it where it has another form."""
    try:
        said = json.loads(body)
    except (ValueError, RecursionError):
        return body
    for name in ("error", "message", "detail"):
        said = said[name] if isinstance(said, dict) and said.get(name) else said
    return said if isinstance(said, str) else body


def shown_url(url: str) -> str:
    """The URL without anything that may be a secret: no user, no password (whatever is in it), no query.

    Where an @ is part of what may be a query or else a password with odd characters, only the scheme is shown.
    """
    scheme, separator, rest = url.partition("://") if "://" in url else ("", "", url)
    server, path = _parts(rest)
    return f"{scheme}{separator}***" if "@" in path else f"{scheme}{separator}{server}{re.split('[?#]', path)[0]}"


def _parts(rest: str) -> tuple[str, str]:
    """What follows a URL's scheme: the server without user and password, and everything after it."""
    authority = re.split(r"[/?#]", rest, maxsplit=1)[0]
    return authority.rpartition("@")[2], rest[len(authority) :]


def sent_secrets(url: str, key: str) -> list[str]:
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
