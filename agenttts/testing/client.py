"""For tests of pipelines and searchers: a chat client that answers from a function, without a model."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from agenttts.errors import ConfigError, EndpointError
from agenttts.llm.samples import Completions, Sample
from agenttts.pipeline import Message, Model, Sampling
from agenttts.pipeline.tools import message_text


class ScriptedClient:
    """Answers each position of each prompt by calling a function.

    Args:
        reply: (model, messages, position) -> text; it may raise EndpointError.
    """

    def __init__(self, reply: Callable[[Model, Sequence[Message], int], str]) -> None:
        self._reply = reply
        self.requests = 0
        """Requests answered so far."""

    async def complete(
        self, model: Model, messages: Sequence[Message], sampling: Sampling, *, start: int, samples: int, seed: int
    ) -> Completions:
        """See `llm.protocols.Completer.complete`; a token is a word."""
        self.requests += 1
        drawn: list[Sample] = []
        for position in range(start, start + samples):
            try:
                text = self._reply(model, messages, position)
            except EndpointError:
                if not drawn:
                    raise
                break
            drawn.append(Sample(text, len(text.split())))
        return Completions(tuple(drawn), sum(len(message_text(message).split()) for message in messages))

    async def reward(self, model: Model, messages: Sequence[Message]) -> Completions:
        """See `llm.protocols.RewardClient.reward`: the function's reply is the number."""
        self.requests += 1
        text = self._reply(model, messages, 0)
        try:
            number = float(text)
        except ValueError:
            raise ConfigError(
                f"the script says {text!r} for model {model.name!r}, where a reward is a number"
            ) from None
        prompt_tokens = sum(len(message_text(message).split()) for message in messages)
        return Completions((Sample(repr(number), 0),), prompt_tokens)

    def route(self, urls: Mapping[str, str]) -> None:
        """A script has no endpoint."""

    async def check(self, models: Sequence[Model]) -> str:
        """Every model can be asked."""
        return ""

    async def close(self) -> None:
        """Nothing to close."""
