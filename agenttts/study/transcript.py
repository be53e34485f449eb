"""What was asked and said for one example: what its stages drew, what was made of it, and what they handed on.

A transcript holds neither prompts nor replies. It names the keys of the sample pool under which both are kept once,
however many trials draw them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal


@dataclass(frozen=True, kw_only=True)
class DrawnPrompt:
    """The samples of one prompt that a stage looked at."""

    key: str
    """Of the sample pool; the samples are the first ones of the key."""
    model: str
    """Who was asked, named as in allocations."""
    samples: int
    cut: int = 0
    """Samples that were cut at `max_tokens`."""
    values: tuple[str | Literal[True] | None, ...] = ()
    """What the stage's parser made of each, as text: True for the sample's whole text, None for one that cannot be
    used. Empty where they were not parsed."""

    @property
    def unusable(self) -> int:
        """Samples of which the parser could make nothing."""
        return self.values.count(None)


@dataclass(frozen=True, kw_only=True)
class StageTranscript:
    """One stage, or one call of it where a pipeline's function asks it several times."""

    stage: str
    drawn: tuple[DrawnPrompt, ...] = ()
    output: str | None = None
    """What it handed on, as text; None where it did not come that far."""


@dataclass(frozen=True, kw_only=True)
class Transcript:
    """One example under one allocation, stage by stage in the order in which they began."""

    stages: tuple[StageTranscript, ...] = ()
    given: Mapping[str, Any] = field(default_factory=dict)
    """The example's fields."""

    @property
    def unusable(self) -> int:
        """Samples that no parser could use."""
        return sum(drawn.unusable for stage in self.stages for drawn in stage.drawn)

    @property
    def cut(self) -> int:
        """Samples that were cut at `max_tokens`."""
        return sum(drawn.cut for stage in self.stages for drawn in stage.drawn)
