"""What an example's stages did, as the transcript that a store keeps."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any, Literal

from agenttts._util.text import bounded
from agenttts.execution.drawn import LookedAt
from agenttts.execution.run import StageRun
from agenttts.pipeline.operators import Drawn
from agenttts.study.transcript import DrawnPrompt, StageTranscript, Transcript

_MOST_VALUE, _MOST_OUTPUT = 1_000, 4_000
"""Characters that are kept of a parsed value, and of an output; the samples themselves are kept whole."""


def transcribed(stages: Iterable[StageRun]) -> Transcript:
    """The transcript of stages that drew something or gave an output."""
    done = [stage for stage in stages if stage.looked_at or stage.result is not None]
    return Transcript(
        stages=tuple(
            StageTranscript(
                stage=each.subtask.name,
                drawn=tuple(_drawn(key, looked_at) for key, looked_at in each.looked_at.items()),
                output=None if each.result is None else bounded(_as_text(each.result), _MOST_OUTPUT),
            )
            for each in done
        )
    )


def _drawn(key: str, looked_at: LookedAt) -> DrawnPrompt:
    values = tuple(map(_value, looked_at.answers))
    cut = sum(sample.ended in ("cut", "unfinished") for sample in looked_at.samples)
    return DrawnPrompt(key=key, model=looked_at.model, samples=len(looked_at.samples), cut=cut, values=values)


def _value(drawn: Drawn) -> str | Literal[True] | None:
    if drawn.value is None:
        return None
    text = _as_text(drawn.value)
    return True if text.strip() == drawn.text.strip() else bounded(text, _MOST_VALUE)


def _as_text(value: Any) -> str:
    if isinstance(value, str):
        return value
    try:
        return json.dumps(value, ensure_ascii=False)
    except (TypeError, ValueError, RecursionError):
        pass  # no plain data: as it shows itself
    try:
        return repr(value)
    except Exception as error:  # a class of the user's may raise anything: that fails no example
        return f"a {type(value).__name__} that cannot be shown: {type(error).__name__}"
