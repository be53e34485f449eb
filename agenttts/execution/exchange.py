"""One draw of samples as a person reads it: who was asked what, and what was said."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from agenttts.pipeline import Message


@dataclass(frozen=True, kw_only=True)
class Exchange:
    """One draw of samples."""

    subtask: str
    model: str
    messages: Sequence[Message]
    replies: Sequence[str]
