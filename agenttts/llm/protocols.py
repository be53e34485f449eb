"""The protocols of a client: what asks a model for completions, for embeddings, and for rewards."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol, runtime_checkable

from agenttts.llm.samples import Completions
from agenttts.pipeline import Message, Model, Sampling


class Completer(Protocol):
    """Asks models for completions."""

    async def complete(
        self, model: Model, messages: Sequence[Message], sampling: Sampling, *, start: int, samples: int, seed: int
    ) -> Completions:
        """The completions of one request: at least one, at most `samples`.

        Args:
            model: The model that is asked.
            messages: The prompt.
            sampling: How to sample.
            start: Position of the first completion among those of this prompt.
            samples: How many are wanted.
            seed: Seed of the prompt's first completion; the one at position p is drawn with seed + p.

        Raises:
            EndpointError: When the endpoint rejects the request or keeps failing.
        """
        ...


class ChatClient(Completer, Protocol):
    """What the live environment draws every sample through."""

    def route(self, urls: Mapping[str, str]) -> None:
        """Ask these models (by served name) at these endpoints, whatever their `base_url`."""
        ...

    async def check(self, models: Sequence[Model]) -> str:
        """Make sure that every model can be asked, before anything is paid for.

        Returns:
            What the answers are where no model gives them, in words that are shown; empty for real models.

        Raises:
            ConfigError: On a missing key or a model that its endpoint does not serve.
            EndpointError: When an endpoint cannot be reached.
        """
        ...

    async def close(self) -> None:
        """Close every connection."""
        ...


@runtime_checkable
class EmbeddingClient(Protocol):
    """A client that asks for embeddings too."""

    async def embed(self, model: Model, text: str) -> Completions:
        """The embedding of a text: one sample, which holds a JSON list of numbers.

        Raises:
            EndpointError: When the endpoint rejects the request or keeps failing.
        """
        ...

    async def check_embeddings(self, model: Model) -> str:
        """Make sure that the model can be asked, by the embedding of one word: a token that is charged to nobody.

        Returns:
            As `ChatClient.check`.

        Raises:
            ConfigError: On a missing key, or an endpoint without this model or without embeddings.
            EndpointError: When the endpoint cannot be reached, is overloaded or rejects the key.
        """
        ...


@runtime_checkable
class RewardClient(Protocol):
    """A client that asks reward models too."""

    async def reward(self, model: Model, messages: Sequence[Message]) -> Completions:
        """What a reward model gives a conversation: one sample, which holds a number as JSON.

        Raises:
            EndpointError: When the endpoint rejects the request or keeps failing.
        """
        ...
