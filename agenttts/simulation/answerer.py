"""The one interface of a task's virtual models: a request in, the text of one choice out.

A task becomes simulated by an `Answerer` for its prompts, and its entry in `simulation.ANSWERERS`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from agenttts.errors import AgentTTSError
from agenttts.pipeline import Message, Model


@dataclass(frozen=True, kw_only=True)
class Request:
    """What one choice of a completion is asked for."""

    model: Model
    """Who is asked."""
    messages: Sequence[Message]
    """What is asked."""
    temperature: float
    """At 0 every sample is the same."""
    seed: int
    """Of this choice: that of the request, one more for each further choice."""

    @property
    def prompt(self) -> str:
        """The last message."""
        return str(self.messages[-1]["content"])


class UnknownPrompt(AgentTTSError):
    """The simulation plays only its task's own prompts about its own examples."""


class Answerer(Protocol):
    """Plays every model of one task, right or wrong by the skill of the model that is asked."""

    def reply(self, request: Request) -> str:
        """The text of one choice: the same for the same request.

        Raises:
            UnknownPrompt: When the prompt is not one of the task's, or about none of its examples.
        """
        ...
