"""What was asked and said, as lines for a terminal."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterable, Iterator, Mapping
from textwrap import indent
from typing import Any

from agenttts._util.numbers import counted
from agenttts._util.text import one_line, printable
from agenttts.db import Study
from agenttts.pipeline.tools import message_text
from agenttts.report.data.said import SaidExample, SaidPrompt, SaidSample, SaidStage

_ENDED = {
    "refused": "refused",
    "cut": "cut at max_tokens before it said anything",
    "empty": "empty",
    "unfinished": "cut at max_tokens",
    "called": "calls tools",
}
"""Why a sample holds nothing, or not all, to parse -> in words."""


def said_lines(examples: Iterable[SaidExample]) -> Iterator[str]:
    """Example by example: prompts, replies, what was made of them, and what was handed on. Printable.

    Examples:
        >>> from agenttts import report
        >>> lines = list(report.said_lines(report.read_said(store, study, trial=1, example="e4")))
        >>> lines[0], lines[-1]
        ('trial 1, example e4: score 1.000', '')
    """
    for example in examples:
        for line in _example_lines(example):
            yield printable(line)
        yield ""


def samples_command(study: Study, trial: int | None = None, *, failed: bool = False) -> str:
    """The command that shows what was said."""
    which = [] if trial is None else ["--trial", str(trial)]
    return shlex.join(["agenttts", "samples", study.name, *which, *(["--failed"] if failed else [])])


def _example_lines(example: SaidExample) -> Iterator[str]:
    failed = f", failed: {one_line(example.error)}" if example.error is not None else ""
    held_out = "held-out example" if example.held_out else "example"
    yield f"trial {example.trial}, {held_out} {example.example}: score {example.score:.3f}{failed}"
    if example.given:
        yield _block("given", fields_text(example.given), 2)
    for stage in example.stages:
        yield from _stage_lines(stage)


def fields_text(fields: Mapping[str, Any]) -> str:
    """Fields of an example, one a line."""
    return "\n".join(f"{name}: {field_text(value)}" for name, value in fields.items())


def field_text(value: Any) -> str:
    """A field of an example: a text as it is, a list of texts one a line, else as JSON."""
    if isinstance(value, list) and value and all(isinstance(each, str) for each in value):
        return "\n".join(value)
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _stage_lines(stage: SaidStage) -> Iterator[str]:
    yield f"  {stage.stage}: {stage.choice}"
    for prompt in stage.prompts:
        yield from _prompt_lines(prompt)
    if stage.votes or stage.unusable:
        yield _block("votes", votes_text(stage), 4)
    if stage.output is None:
        yield "    handed on nothing"
    else:
        yield _block("handed on", stage.output, 4)


def votes_text(stage: SaidStage) -> str:
    """How many samples gave each value, one a line."""
    lines = [f"{count} x {value}" for value, count in stage.votes.items()]
    lines += [f"{stage.unusable} unusable"] if stage.unusable else []
    return "\n".join(lines)


def _prompt_lines(prompt: SaidPrompt) -> Iterator[str]:
    if not prompt.messages:
        yield f"    {prompt.model} was asked, but the prompt is not in the sample pool any more"
        return
    yield f"    {prompt.model} was asked ({counted(prompt.prompt_tokens, 'token')})"
    for message in prompt.messages:
        yield _block(str(message.get("role", "")), message_text(message), 6)
    for number, sample in enumerate(prompt.samples, start=1):
        yield _block(f"sample {number} ({sample_notes(sample)})", sample.text, 4)
        if sample.parsed and sample.value is not None and sample.value != sample.text.strip():
            yield _block("parsed", sample.value, 6)


def sample_notes(sample: SaidSample) -> str:
    """What there is to say of a sample beside its text."""
    notes = [counted(sample.tokens, "token")]
    notes += [_ENDED.get(sample.ended, sample.ended)] if sample.ended else []
    notes += ["unusable"] if sample.parsed and sample.value is None else []
    return ", ".join(notes)


def _block(label: str, text: str, depth: int) -> str:
    """A text after its label, or below it where it has several lines."""
    blank = " " * depth
    if "\n" not in text:
        return f"{blank}{label}: {text}"
    return f"{blank}{label}:\n{indent(text, f'{blank}  ', lambda _: True)}"
