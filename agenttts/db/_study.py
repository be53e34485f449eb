"""A study as stored."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from agenttts.study.spec import StudySpec

PREFIX_CACHES = "prefix_caches"
"""The one of a study's details that grows."""


@dataclass(frozen=True)
class Study:
    """A study as stored."""

    id: int
    """Its number in the store."""
    name: str
    """Unique in the store."""
    created: datetime
    """When its first search began."""
    spec: StudySpec
    """What identifies it."""
    details: Mapping[str, Any]
    """What a reader needs to repeat the search."""

    @property
    def prefix_caches(self) -> dict[str, tuple[int, int]]:
        """Model -> tokens that were looked up in its server's prefix cache, and found there."""
        return cache_uses(self.details)


def cache_uses(details: Mapping[str, Any]) -> dict[str, tuple[int, int]]:
    """What a study's servers looked up in their prefix caches, and found there."""
    return {name: (looked_up, found) for name, (looked_up, found) in details.get(PREFIX_CACHES, {}).items()}
