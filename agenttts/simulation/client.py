"""A simulation asked without HTTP: for calibration and benchmarks, where only the answers matter."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from agenttts.errors import EndpointError
from agenttts.llm.openai import SIMULATED
from agenttts.llm.samples import Completions, Sample
from agenttts.pipeline import Message, Model, Sampling
from agenttts.simulation.simulation import CompletionBody, EmbeddingBody, RequestRejected, Simulation, count_tokens


class SimulatedClient:
    """See `environments.ChatClient`; faults but `most_n` are those of HTTP, and do not happen here."""

    def __init__(self, simulation: Simulation) -> None:
        self._simulation = simulation

    async def complete(
        self, model: Model, messages: Sequence[Message], sampling: Sampling, *, start: int, samples: int, seed: int
    ) -> Completions:
        body = CompletionBody(
            model=model.served_name,
            messages=list(messages),
            n=samples,
            temperature=1.0 if sampling.temperature is None else sampling.temperature,
            seed=seed + start,
            max_tokens=sampling.max_tokens,
        )
        with _translated():
            answer = self._simulation.complete(body)
        texts = [choice["message"]["content"] for choice in answer["choices"]]
        drawn = tuple(Sample(text, count_tokens(text)) for text in texts)
        return Completions(drawn, answer["usage"]["prompt_tokens"])

    async def embed(self, model: Model, text: str) -> Completions:
        with _translated():
            answer = self._simulation.embed(EmbeddingBody(model=model.served_name, input=text))
        vector = json.dumps(answer["data"][0]["embedding"])
        return Completions((Sample(vector, 0),), answer["usage"]["prompt_tokens"])

    async def check_embeddings(self, model: Model) -> str:
        """They are simulated."""
        return SIMULATED

    def route(self, urls: Mapping[str, str]) -> None:
        """There is no endpoint."""

    async def check(self, models: Sequence[Model]) -> str:
        """The answers are simulated."""
        return SIMULATED

    async def close(self) -> None:
        """Nothing to close."""


@contextmanager
def _translated() -> Iterator[None]:
    """Raise what a real client raises for a rejected request."""
    try:
        yield
    except RequestRejected as error:
        raise EndpointError(str(error), status=error.status) from error
