"""Replaying minihop's recorded sample pools: real samples of the real models, without a model."""

from __future__ import annotations

import json
import lzma
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from agenttts.errors import EndpointError
from agenttts.execution.prompts import render
from agenttts.llm.samples import Completions, Sample
from agenttts.pipeline import Example, Message, Model, Pipeline, Sampling, SubtaskInput
from agenttts.pipeline.operators.verify import VerifierPrompt


class RecordedVerdicts(NamedTuple):
    """Verdicts on replies: lines as of the pools, each naming a reply by its author and its place among the texts."""

    path: Path
    prompt: VerifierPrompt
    """Renders the prompts that the verdicts answer."""


class ReplayClient:
    """A chat client that answers from a recording, in the order in which the samples were drawn.

    Args:
        pools: A file of JSON lines compressed with xz; a line holds the samples of one (stage, example, kept facts,
            model): their distinct texts, the completion tokens of each, and the order of the draws.
        pipeline: Renders the prompts that the recording answers.
        examples: In the order of the recording's example numbers.
        verdicts: On replies of the answer stage.
    """

    def __init__(
        self, pools: Path, pipeline: Pipeline, examples: Sequence[Example], verdicts: RecordedVerdicts | None = None
    ) -> None:
        self._pools = pools
        self._pipeline = pipeline
        self._examples = examples
        self._verdicts = verdicts

    @cached_property
    def _entries(self) -> dict[tuple[str, str], dict[str, Any]]:
        pools = _lines(self._pools)
        entries = {(entry["model"], _key(self._asked(entry))): entry for entry in pools}
        if self._verdicts is not None:
            texts = {_replies(entry, entry["model"]): entry["texts"] for entry in pools if entry["stage"] == "answer"}
            for entry in _lines(self._verdicts.path):
                reply = texts[_replies(entry, entry["author"])][entry["reply"]]
                entries[entry["model"], _key(self._verdicts.prompt(self._given(entry), reply))] = entry
        return entries

    def _asked(self, entry: Mapping[str, Any]) -> list[Message]:
        return render(self._pipeline.subtask(entry["stage"]), self._given(entry))

    def _given(self, entry: Mapping[str, Any]) -> SubtaskInput:
        inputs = {} if entry["stage"] == "retrieve" else {"retrieve": entry["facts"]}
        return SubtaskInput(self._examples[int(str(entry["example"]).rpartition("-")[2])], inputs)

    async def complete(
        self, model: Model, messages: Sequence[Message], sampling: Sampling, *, start: int, samples: int, seed: int
    ) -> Completions:
        """The recorded completions at positions `start` to `start + samples`."""
        entry = self._entries.get((model.name, _key(messages)))
        recorded = [] if entry is None else entry["order"][start : start + samples]
        if entry is None or len(recorded) < samples:
            held = 0 if entry is None else len(entry["order"])
            raise EndpointError(
                f"the recording {self._pools.name} holds {held} samples of model {model.name!r} for this prompt, "
                f"not {start + samples}"
            )
        replayed = tuple(Sample(entry["texts"][index], entry["completion_tokens"][index]) for index in recorded)
        return Completions(replayed, entry["prompt_tokens"])

    def route(self, urls: Mapping[str, str]) -> None:
        """A recording has no endpoint."""

    async def check(self, models: Sequence[Model]) -> str:
        """A recording needs no check: what it lacks shows as an error of the draw; its environment says what it is."""
        return ""

    async def close(self) -> None:
        """Nothing to close."""


def _lines(path: Path) -> list[dict[str, Any]]:
    with lzma.open(path, "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def _replies(entry: Mapping[str, Any], author: str) -> tuple[str, tuple[int, ...], str]:
    return entry["example"], tuple(entry["facts"]), author


def _key(messages: Sequence[Message]) -> str:
    return json.dumps([[message["role"], message["content"]] for message in messages])
