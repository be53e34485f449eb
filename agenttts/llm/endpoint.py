"""Where an endpoint is, how it is shown, and what is sent with every request: its key, and further headers.

Keys come from the environment and appear in no message; URLs are shown without user, password and query. A base URL is
corrected where it is plain what is meant: blanks around it, a missing scheme, the whole path of the chat API. A query
(`?api-version=...`) goes with every request.
"""

from __future__ import annotations

import base64
import os
import re
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple
from urllib.parse import unquote, urlsplit

from agenttts._util.checks import require_variable
from agenttts._util.text import LEAST_SECRET
from agenttts.errors import ConfigError
from agenttts.pipeline.model import Model

DEFAULT_BASE_URL = "https://api.openai.com/v1"
KEY = "OPENAI_API_KEY"
"""The variable of the key of the endpoint that OPENAI_BASE_URL names, else of OpenAI's own."""
SIMULATION = "agenttts-simulation"
"""Owner of the models that a simulated server lists: by this it is recognised."""
MOST_SHOWN = 4000
"""Characters of what a server wrote that are looked at for an error."""
_CONNECT_S = 20.0
_NO_KEYS = ("sk-no-key-required", "sk-1234", "sk-none", "sk-dummy", "sk-xxx")
"""Keys that servers of one's own are given where a client asks for one; so is EMPTY."""
_OF_THE_API = re.compile(r"/(chat/completions|completions|responses|embeddings|models)/?$")
_LOCAL = re.compile(r"(localhost|127\.|0\.0\.0\.0|10\.|192\.168\.|\[?::1|[\w-]+(:\d+)?(/|$))")
_OF_THE_CONNECTION = ("SSL_CERT_FILE", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")
_ACCOUNT = {"OpenAI-Organization": "OPENAI_ORG_ID", "OpenAI-Project": "OPENAI_PROJECT_ID"}


class Address(NamedTuple):
    """An endpoint, and where its secrets are."""

    url: str
    key_env: str | None = None
    """Environment variable of the key; when None, `KEY` for the endpoint that it belongs to, and else no key."""
    headers: tuple[tuple[str, str], ...] = ()
    """Further headers, and the environment variables of their values."""

    @property
    def variable(self) -> str | None:
        """The environment variable whose key is sent there."""
        return self.key_env or (KEY if _origin(self.url) == _origin(endpoint_url(None)) else None)

    def key(self, who: str) -> str | None:
        """The key that is sent; None for none.

        Args:
            who: Who needs it, as errors name it.

        Raises:
            ConfigError: When it is needed and not there, or cannot be sent.
        """
        value = None if self.variable is None else (_read(self.variable) or "").removeprefix("Bearer ") or None
        if value is None and self.key_env is not None:
            raise ConfigError(
                f"{who} needs a key for {shown_url(self.url)}: set the environment variable {self.key_env}"
            )
        if value is None and is_openai(self.url):
            raise ConfigError(
                f"{who} needs a key: set {KEY}, or OPENAI_BASE_URL for an endpoint of your own"
                if self.variable
                else f"{who} needs a key for {shown_url(self.url)}, and {KEY} is for {shown_url(endpoint_url(None))} "
                "(OPENAI_BASE_URL): name the variable that holds it with api_key_env"
            )
        return value

    def sent(self, who: str) -> dict[str, str]:
        """The headers that are sent with every request.

        Raises:
            ConfigError: As `key`, or when a header's variable is not set.
        """
        key = self.key(who)
        found = {"Content-Type": "application/json", "Accept": "application/json"}
        if key is not None:
            found["Authorization"] = f"Bearer {key}"
        if key is not None and self.variable == KEY:
            found |= {header: value for header, name in _ACCOUNT.items() if (value := _read(name)) is not None}
        for header, variable in self.headers:
            value = _read(variable)
            if value is None:
                raise ConfigError(f"{who} sends the header {header!r}: set the environment variable {variable}")
            found[header] = value
        return found


def address(base_url: str | None, key_env: str | None = None, headers: Mapping[str, str] | None = None) -> Address:
    """The endpoint of this base URL: that of OPENAI_BASE_URL, else OpenAI's own, when None.

    Raises:
        ConfigError: When the URL is none, or what should name a variable is a value.
    """
    for variable in filter(None, (key_env, *(headers or {}).values())):
        require_variable(variable, f"the key of {shown_url(base_url or '')}")
    return Address(endpoint_url(base_url), key_env, tuple((headers or {}).items()))


def endpoint_url(base_url: str | None) -> str:
    """The endpoint meant: the given one, else that of OPENAI_BASE_URL, else OpenAI's own.

    Raises:
        ConfigError: When it is no URL of HTTP.
    """
    given = (base_url or os.environ.get("OPENAI_BASE_URL") or DEFAULT_BASE_URL).strip()
    given = re.sub(r"^(https?)(:/|//)(?!/)", r"\1://", given, flags=re.I)
    if "://" not in given:
        given = f"{'http' if _LOCAL.match(given) else 'https'}://{given}"
    path, mark, query = given.partition("?")
    found = f"{_OF_THE_API.sub('', path).rstrip('/')}{mark}{query}"
    try:
        parts = urlsplit(found)
        valid = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        valid = False
    if not valid or re.search(r"\s", found):
        raise ConfigError(f"the base URL {shown_url(given)!r} is none: it must be like http://localhost:8000/v1")
    return found


def joined(url: str, path: str) -> str:
    """A path of an endpoint, before its query."""
    base, mark, query = url.partition("?")
    return f"{base}{path}{mark}{query}"


def server_url(url: str) -> str:
    """The endpoint's server, where what is no part of the API is found (metrics, a tokenizer)."""
    return url.partition("?")[0].removesuffix("/v1")


def is_openai(url: str) -> bool:
    """Whether it is OpenAI's own endpoint, which needs a key."""
    host = urlsplit(url).hostname or ""
    return host == "api.openai.com" or host.endswith(".api.openai.com")


def has_openai_key() -> bool:
    """Whether OpenAI's own endpoint is meant where none is named, and there is a key that it may have given out."""
    key = _read(KEY) or ""
    return is_openai(endpoint_url(None)) and key.startswith("sk-") and key.lower() not in _NO_KEYS


def _origin(url: str) -> tuple[str, str | None, int | None]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port


def _read(variable: str) -> str | None:
    """What an environment variable holds, without the blanks, line ends and quotes around it; None for nothing.

    Raises:
        ConfigError: When it cannot be sent.
    """
    value = os.environ.get(variable, "").strip().strip("\"'")
    if not value.isascii() or not value.isprintable():
        raise ConfigError(
            f"the value of {variable} cannot be sent: it holds a line end, or a character that is not ASCII"
        )
    return value or None


def http_transport(url: str, *, timeout_s: float) -> Any:
    """The HTTP client through which an endpoint is asked: one of httpx, or of httpx2 as its successor.

    Raises:
        ConfigError: When the certificates or the proxy that the environment names cannot be used.
    """
    from openai import DefaultAioHttpClient, DefaultAsyncHttpxClient, Timeout

    # The default transport takes half as much CPU time again for a request (benchmarks/engine.py), but aiohttp refuses
    # a key beside a user and password in the URL. A redirected POST loses its body, and its headers may go elsewhere.
    kind = DefaultAsyncHttpxClient if "@" in url else DefaultAioHttpClient
    try:
        return kind(timeout=Timeout(timeout_s, connect=min(timeout_s / 2, _CONNECT_S)), follow_redirects=False)
    except (OSError, ImportError, ValueError) as error:
        named = [f"{name}={shown_url(os.environ[name])}" for name in _OF_THE_CONNECTION if os.environ.get(name)]
        raise ConfigError(
            f"{shown_url(url)} cannot be asked with {', '.join(named) or 'these certificates'}: {error}"
        ) from error


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


def lasting_secrets(url: str, key: str | None) -> list[str]:
    """The key and the password that go with a request, as they are sent: none that may be a word of an answer."""
    user, _, password = _user_part(url).partition(":")
    sent = [key or "", unquote(password)]
    if password:
        sent.append(base64.b64encode(f"{unquote(user)}:{unquote(password)}".encode()).decode())
    return [secret for secret in sent if len(secret) >= LEAST_SECRET and secret.lower() not in _NO_KEYS]


def sent_secrets(url: str, *sent: str) -> list[str]:
    """Every secret that a server is told with a request: these, and the URL's user, password and query."""
    rest, user_part = url.partition("://")[2], _user_part(url)
    user, _, password = user_part.partition(":")
    query = re.split(r"[?#]", rest, maxsplit=1)[1:]
    values = [part.partition("=")[2] for text in query for part in re.split("[&;#]", text)]
    # The transport writes "user:password" decoded, in base64.
    credential = f"{unquote(user)}:{unquote(password)}" if user_part else ""
    found = [*sent, user_part, credential, user, password, *query, *values]
    return [secret for secret in found if secret]


def secret_variables(models: Iterable[Model]) -> set[str]:
    """The environment variables that hold keys and headers of these models."""
    return {KEY, *(name for model in models for name in (model.api_key_env, *model.headers.values()) if name)}


def secrets_of(models: Iterable[Model]) -> list[str]:
    """The values of `secret_variables`."""
    return [value for name in sorted(secret_variables(models)) if (value := os.environ.get(name, "").strip())]


def _user_part(url: str) -> str:
    """The user and the password of a URL, as they are written in it."""
    return re.split(r"[/?#]", url.partition("://")[2], maxsplit=1)[0].rpartition("@")[0]
