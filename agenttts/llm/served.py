"""Which models an endpoint serves, as it tells; where it does not settle the matter, one token is asked for.

Lists are answered in several shapes, refused to restricted keys, empty, or of names that differ from those that work
(`models/NAME`, `NAME:latest`, an alias of a router, a deployment). A model that is not listed but answers is served.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Awaitable, Callable, Collection, Mapping
from typing import Any

from agenttts.errors import ConfigError, EndpointError
from agenttts.llm.asking import Asker
from agenttts.llm.endpoint import joined, shown_url

_TIMEOUT_S = 20.0
_MOST_NAMED = 5
_ATTEMPTS = 2
_OF_THE_KEY = 401
_NO_MODEL = re.compile(
    r"\bmodel\b[^.]{0,80}\b(not (found|exist|available|supported|served|valid)|n't exist|unknown|invalid|unavailable)"
    r"|\b(unknown|invalid|unsupported|no such|access to) model\b",
    re.I,
)

Served = Mapping[str, str]
"""Names of models, and their owners; none where an endpoint does not tell."""


async def served_models(asker: Asker, who: str) -> Served:
    """The models that an endpoint lists. Costs nothing.

    Where it has no path and lists none, the same with /v1 is asked, and used from then on if it is an API.

    Args:
        asker: The endpoint.
        who: Whom it is asked for, as errors name it.

    Raises:
        EndpointError: When it cannot be reached.
    """
    found, _ = await _listed(asker, who, asker.url)
    longer = joined(asker.url, "/v1")
    if not found and shown_url(asker.url).count("/") == 2:
        other, refused = await _listed(asker, who, longer)
        # What refuses the key, or lists models, is there; what is not there is not found.
        if other or (refused is not None and refused.status in (401, 403)):
            asker.url, asker.shown, found = longer, shown_url(longer), other
    return found


async def _listed(asker: Asker, who: str, url: str) -> tuple[Served, EndpointError | None]:
    """What is listed, and why nothing is."""
    for attempt in range(_ATTEMPTS):
        try:
            async with asker.pulse.waited_for(who):  # one that lists nothing for long is told of
                found = _names(await asker.fetch(who, joined(url, "/models"), timeout_s=_TIMEOUT_S))
            asker.pulse.heard()
            return found, None
        except EndpointError as error:
            if error.unreachable or (error.status is None and attempt + 1 == _ATTEMPTS):
                raise EndpointError(
                    f"cannot reach {asker.shown}, the endpoint of {who}: {error}", unreachable=error.unreachable
                ) from error
            if (error.status or 500) < 500 or attempt + 1 == _ATTEMPTS:
                return {}, error
    return {}, None


def _names(content: bytes) -> Served:
    """The names in a list of models, whatever its shape."""
    try:
        answer = json.loads(content)
    except (ValueError, RecursionError):
        return {}
    entries = answer if isinstance(answer, list) else _entries(answer)
    found: dict[str, str] = {}
    for entry in entries:
        name = entry if isinstance(entry, str) else _text(entry, "id") or _text(entry, "name") or _text(entry, "model")
        if name:
            found[name] = "" if isinstance(entry, str) else _text(entry, "owned_by")
    return found


def _entries(answer: Any) -> list[Any]:
    lists = [answer.get(name) for name in ("data", "models")] if isinstance(answer, Mapping) else []
    return next((each for each in lists if isinstance(each, list)), [])


def _text(entry: Any, name: str) -> str:
    value = entry.get(name) if isinstance(entry, Mapping) else None
    return value if isinstance(value, str) else ""


async def require_served(
    asker: Asker, who: str, name: str, served: Collection[str], ask: Callable[[], Awaitable[object]]
) -> None:
    """Make sure that a model is served.

    Args:
        asker: The endpoint.
        who: Whom it is asked for, as errors name it.
        name: The model's name there.
        served: The models that are listed.
        ask: Asks the model for one token.

    Raises:
        ConfigError: When it is not; the message says what the server said, names what is close, and a few others.
        EndpointError: When the endpoint cannot be reached, or rejects the key.
    """
    if {name, f"models/{name}", f"{name}:latest"} & set(served):
        return
    try:
        await ask()
    except EndpointError as error:
        if error.final or error.status == _OF_THE_KEY:
            raise
        # A server that is busy, or that one token is too few for, says nothing of the model.
        if not _is_of_the_model(error, name):
            return
        raise ConfigError(
            f"{asker.shown} does not serve the model {name!r}{_close(name, asker, served)} ({error})"
        ) from error


def _is_of_the_model(error: EndpointError, name: str) -> bool:
    """Whether a refusal says that the model is not there."""
    said = str(error).partition(" answered ")[2]  # without who was asked
    named = _NO_MODEL.search(said) is not None or re.search(rf"(?<!\w){re.escape(name)}(?!\w)", said) is not None
    return error.status == 404 or (error.status in (400, 403, 422) and named)


def _close(name: str, asker: Asker, served: Collection[str]) -> str:
    """What is served, in words: the closest names, and how many there are."""
    if not served:
        return "; it does not list what it serves"
    short = {each.lower().rpartition("/")[2]: each for each in served}
    found = [short[each] for each in difflib.get_close_matches(name.lower().rpartition("/")[2], short, n=1, cutoff=0.6)]
    named = list(dict.fromkeys([*found, *served]))[:_MOST_NAMED]
    left = len(served) - len(named)
    others = f" and {left} others" if left else ""
    meant = f": is {found[0]!r} meant? It serves" if found else "; it serves"
    return asker.scrubbed(f"{meant} {', '.join(named)}{others}")
