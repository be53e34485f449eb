"""Virtual models behind the OpenAI protocol: they rehearse a task without any LLM, and say so everywhere.

The owner of the models in `/v1/models` is `chat.SIMULATION`, every answer and header carries the same mark, and an
environment that meets it calls its scores simulated, and keeps them and their samples apart from real ones.

Tokens are counted by one rule: four characters are a token, rounded up, and a message has four more.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from random import Random
from typing import Any

from pydantic import BaseModel, Field

from agenttts.environments import LiveEnvironment, environment
from agenttts.errors import AgentTTSError, ConfigError
from agenttts.llm.endpoint import SIMULATION
from agenttts.pipeline import Example, Message
from agenttts.simulation.answerer import Answerer, Request, UnknownPrompt
from agenttts.simulation.chatdev import ChatdevAnswerer
from agenttts.simulation.embeddings import embed
from agenttts.simulation.faults import Faults
from agenttts.simulation.qa import QaAnswerer
from agenttts.simulation.skill import SKILLS
from agenttts.simulation.taskbench import TaskbenchAnswerer

ANSWERERS: Mapping[str, Callable[[str, Iterable[Example]], Answerer]] = {
    **dict.fromkeys(SKILLS, QaAnswerer),
    "taskbench": TaskbenchAnswerer,
    "chatdev": ChatdevAnswerer,
}
"""Task -> who plays its models, given the task's name and all its examples."""

_CHARACTERS_PER_TOKEN = 4
_TOKENS_PER_MESSAGE = 4
_MAX_SEED = 2**31


class CompletionBody(BaseModel):
    """What is read of a request for completions."""

    model: str
    messages: list[Message] = Field(min_length=1)
    n: int = Field(1, ge=1)
    temperature: float = Field(1.0, ge=0)
    seed: int | None = None
    max_tokens: int | None = Field(None, ge=1)


class EmbeddingBody(BaseModel):
    """What is read of a request for embeddings."""

    model: str
    input: str | list[str] = Field(min_length=1)

    @property
    def texts(self) -> list[str]:
        """What is to be embedded."""
        return [self.input] if isinstance(self.input, str) else self.input


class RequestRejected(AgentTTSError):
    """The server understood a request and declines it."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Simulation:
    """The virtual models of one task.

    Args:
        task: One of `ANSWERERS`.
        data: Its dataset: a path or a Hub id. The environment that asks must have the same.
        faults: What goes wrong, and how often.
        seed: Of the faults, and of requests without a seed.

    Raises:
        ConfigError: On a task that cannot be simulated, or data that cannot be read.
    """

    def __init__(self, task: str, data: str | None, *, faults: Faults | None = None, seed: int = 0) -> None:
        if task not in ANSWERERS:
            raise ConfigError(f"there is no simulation of {task!r}; there is of {', '.join(ANSWERERS)}")
        found = environment(task, data=data)
        assert isinstance(found, LiveEnvironment), "a task of the paper runs on endpoints"
        examples = [found.example(name) for name in (*found.examples, *found.held_out)]
        self.task, self.examples = task, len(examples)
        self.models = {model.served_name: model for model in found.pipeline.models}
        self.embedder = found.embedder.served_name if found.embedder else None
        self.faults = faults or Faults()
        self.answerer = ANSWERERS[task](task, examples)
        self.random = Random(seed)

    def listing(self) -> dict[str, Any]:
        """The answer of `/v1/models`."""
        data = [
            {"id": name, "object": "model", "created": 0, "owned_by": SIMULATION, "parameters": model.parameters}
            for name, model in self.models.items()
        ]
        if self.embedder:
            data.append({"id": self.embedder, "object": "model", "created": 0, "owned_by": SIMULATION})
        return {"object": "list", "simulation": True, "data": data}

    def complete(self, body: CompletionBody) -> dict[str, Any]:
        """The answer of `/v1/chat/completions`.

        Raises:
            RequestRejected: On a model that is not served, an `n` over the server's, or a prompt of no task.
        """
        if body.model not in self.models:
            raise RequestRejected(404, f"the simulation does not serve {body.model!r}")
        if self.faults.most_n is not None and body.n > self.faults.most_n:
            raise RequestRejected(400, f"n must be at most {self.faults.most_n}")
        seed = self.random.randrange(_MAX_SEED) if body.seed is None else body.seed
        try:
            texts = [self._text(body, seed + place) for place in range(body.n)]
        except UnknownPrompt as error:
            raise RequestRejected(400, str(error)) from error
        return _completion(body, texts)

    def embed(self, body: EmbeddingBody) -> dict[str, Any]:
        """The answer of `/v1/embeddings`; see `simulation.embeddings`.

        Raises:
            RequestRejected: On a model that is not served, as where the task needs no embeddings.
        """
        if body.model != self.embedder:
            raise RequestRejected(404, f"the simulation does not serve embeddings of {body.model!r}")
        vectors = [
            {"object": "embedding", "index": place, "embedding": embed(text)} for place, text in enumerate(body.texts)
        ]
        tokens = sum(map(count_tokens, body.texts))
        usage = {"prompt_tokens": tokens, "total_tokens": tokens}
        return {"object": "list", "model": body.model, "simulation": True, "data": vectors, "usage": usage}

    def _text(self, body: CompletionBody, seed: int) -> str:
        model, temperature = self.models[body.model], body.temperature
        request = Request(model=model, messages=body.messages, temperature=temperature, seed=seed)
        return self.answerer.reply(request)


def count_tokens(text: str) -> int:
    """Four characters are a token, rounded up."""
    return math.ceil(len(text) / _CHARACTERS_PER_TOKEN)


def _completion(body: CompletionBody, texts: Sequence[str]) -> dict[str, Any]:
    most = None if body.max_tokens is None else body.max_tokens * _CHARACTERS_PER_TOKEN
    choices = [
        {
            "index": place,
            "finish_reason": "stop" if most is None or len(text) <= most else "length",
            "message": {"role": "assistant", "content": text[:most]},
        }
        for place, text in enumerate(texts)
    ]
    prompt = sum(count_tokens(message["content"]) + _TOKENS_PER_MESSAGE for message in body.messages)
    completion = sum(count_tokens(text[:most]) for text in texts)
    usage = {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}
    return {
        "id": SIMULATION,
        "object": "chat.completion",
        "created": int(time.time()),
        "model": body.model,
        "system_fingerprint": SIMULATION,
        "simulation": True,
        "choices": choices,
        "usage": usage,
    }
