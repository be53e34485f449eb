"""How much of their prompts vLLM servers found in their prefix caches, as they count it (`/metrics`, vLLM 0.25).

The counters are of a server, not of a search: what others ask it meanwhile counts too. They begin anew with the server,
so of one that was started again only what came since then is known.
"""

from __future__ import annotations

import re
from typing import NamedTuple

_COUNTER = re.compile(r'^vllm:prefix_cache_(queries|hits)_total\{[^}]*model_name="([^"]*)"[^}]*\} (\S+)$', re.M)


class CacheUse(NamedTuple):
    """Prompt tokens, those of each sample of a request by themselves."""

    looked_up: int = 0
    """Prompt tokens that were looked for."""
    found: int = 0
    """Those that were there."""

    def __add__(self, other: CacheUse) -> CacheUse:  # type: ignore[override]  # of figures, not of tuples
        return CacheUse(self.looked_up + other.looked_up, self.found + other.found)

    def since(self, before: CacheUse) -> CacheUse:
        """What a server counted since it had counted `before`; all of it where it began anew."""
        if self.looked_up < before.looked_up:
            return self
        return CacheUse(self.looked_up - before.looked_up, self.found - before.found)

    def __str__(self) -> str:
        return f"{self.found / self.looked_up:.0%} of {self.looked_up:,} prompt tokens"


def read_metrics(text: str, model: str) -> CacheUse | None:
    """What a server's metrics say of a model; None where they say nothing.

    Args:
        text: In Prometheus' format.
        model: The name it is served by; a server of one model may count it under another of its names.
    """
    counted: dict[str, dict[str, float]] = {}
    for kind, name, value in _COUNTER.findall(text):
        figures = counted.setdefault(name, {"queries": 0.0, "hits": 0.0})
        figures[kind] += float(value)  # one for each of its engines
    figures = counted.get(model) or (next(iter(counted.values())) if len(counted) == 1 else {})
    return CacheUse(int(figures["queries"]), int(figures["hits"])) if figures else None
