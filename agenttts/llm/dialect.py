"""What one model at one endpoint takes of a request, learned from what it refuses.

OpenAI's reasoning models take no temperature and call `max_tokens` otherwise; others take no seed, or not temperature
and top_p together. A request that is refused for a field is put again without it; once it is answered, the field is
left out of all that follow, and that is told once. What makes a model a variant (its own fields) is never left out.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from agenttts.errors import EndpointError
from agenttts.llm.complaints import ANY, DROPPABLE

T = TypeVar("T")
_DECLINED = (400, 422)
_SHOWN = 100
_RENAMED = {"max_tokens": "max_completion_tokens"}

_log = logging.getLogger(__name__)


@dataclass
class Dialect:
    """The fields that a model does without."""

    left_out: dict[str, str] = field(default_factory=dict)
    """Field -> what the server said of it."""
    told: set[str] = field(default_factory=set)
    """Fields of which it has been said; shared by the variants of one model."""
    answered: bool = False
    """Whether the model has ever answered."""

    async def spoken(
        self,
        who: str,
        body: Mapping[str, Any],
        ask: Callable[[dict[str, Any]], Awaitable[T]],
        own: Collection[str] = (),
    ) -> T:
        """What a request is answered, put as the model takes it.

        Args:
            who: Who is asked, as the log names it.
            body: The request.
            ask: Makes it.
            own: Fields that are never left out.

        Raises:
            EndpointError: When it is refused for another reason.
        """
        refused = dict(self.left_out)
        while True:
            try:
                answer = await ask(_without(body, refused))
            except EndpointError as error:
                if error.refused not in (*refused, ANY, ""):  # it has another complaint: those before are settled
                    self._learn(who, body, refused)
                names = [name for name in self._given_up(error, body) if name not in (*refused, *own)]
                if not names:
                    raise
                refused |= dict.fromkeys(names, str(error).partition(" answered ")[2])
                continue
            self.answered = True
            self._learn(who, body, refused)
            return answer

    def _given_up(self, error: EndpointError, body: Mapping[str, Any]) -> list[str]:
        """What to do without after a refusal: all that may be, where it names no field and nothing was answered yet."""
        if error.refused != ANY:
            return [name for name in DROPPABLE if name == error.refused]
        blind = not self.answered and error.status in _DECLINED and "n" not in body
        return [name for name in DROPPABLE if blind and name in body and name not in _RENAMED]

    def _learn(self, who: str, body: Mapping[str, Any], refused: Mapping[str, str]) -> None:
        for name in refused.keys() - self.left_out.keys():
            self.left_out[name] = refused[name]
            if name in self.told:
                continue
            self.told.add(name)
            now = f"sent as {_RENAMED[name]}" if name in _RENAMED else "left out of all requests"
            sent = str(body.get(name))[:_SHOWN]
            _log.warning("%s does not take %s=%s (%s): it is %s from now on", who, name, sent, refused[name], now)


def _without(body: Mapping[str, Any], refused: Collection[str]) -> dict[str, Any]:
    kept = {name: value for name, value in body.items() if name not in refused}
    return kept | {_RENAMED[name]: body[name] for name in refused if name in _RENAMED and name in body}
