"""Replaying minihop's recorded sample pools: real samples of the real models, without a model."""

from __future__ import annotations

import json
import lzma
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from agenttts.errors import EndpointError
from agenttts.execution.prompts import render
from agenttts.llm.samples import Completions, Sample
from agenttts.pipeline import Example, Message, Model, Pipeline, Sampling, SubtaskInput


class ReplayClient:
    """A chat client that answers from a recording, in the order in which the samples were drawn.

    Args:
        path: A file of JSON lines compressed with xz; a line holds the samples of one (stage, example, kept facts,
            model): their distinct texts, the completion tokens of each, and the order of the draws.
        pipeline: Renders the prompts that the recording answers.
        examples: In the order of the recording's example numbers.
    """

    def __init__(self, path: Path, pipeline: Pipeline, examples: Sequence[Example]) -> None:
        self._path = path
        self._pipeline = pipeline
        self._examples = examples

    @cached_property
    def _entries(self) -> dict[tuple[str, str], dict[str, Any]]:
        with lzma.open(self._path, "rt", encoding="utf-8") as lines:
            entries = [json.loads(line) for line in lines]
        return {(entry["model"], _key(self._messages(entry))): entry for entry in entries}

    def _messages(self, entry: Mapping[str, Any]) -> list[Message]:
        inputs = {"retrieve": entry["facts"]} if entry["stage"] == "answer" else {}
        given = SubtaskInput(self._examples[int(str(entry["example"]).rpartition("-")[2])], inputs)
        return render(self._pipeline.subtask(entry["stage"]), given)

    async def complete(
        self, model: Model, messages: Sequence[Message], sampling: Sampling, *, start: int, samples: int, seed: int
    ) -> Completions:
        """The recorded completions at positions `start` to `start + samples`."""
        entry = self._entries.get((model.name, _key(messages)))
        recorded = [] if entry is None else entry["order"][start : start + samples]
        if entry is None or len(recorded) < samples:
            held = 0 if entry is None else len(entry["order"])
            raise EndpointError(
                f"the recording {self._path.name} holds {held} samples of model {model.name!r} for this prompt, "
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


def _key(messages: Sequence[Message]) -> str:
    return json.dumps([[message["role"], message["content"]] for message in messages])
