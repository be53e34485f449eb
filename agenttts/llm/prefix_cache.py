"""How much of their prompts vLLM and SGLang servers found in their prefix caches, as they count it (`/metrics`).

The counters are of a server, not of a search: what others ask it meanwhile counts too. They begin anew with the server,
so of one that was started again only what came since then is known.
"""

from __future__ import annotations

import re
from typing import NamedTuple

_COUNTERS = {
    "vllm:prefix_cache_queries_total": "queries",
    "vllm:prefix_cache_hits_total": "hits",
    "sglang:prompt_tokens_total": "queries",
    "sglang:cached_tokens_total": "hits",
}
"""Of vLLM 0.25 and SGLang 0.5.16."""
_COUNTER = re.compile(rf'^({"|".join(_COUNTERS)})\{{[^}}]*model_name="([^"]*)"[^}}]*\}} (\S+)$', re.M)


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
    for counter, name, value in _COUNTER.findall(text):
        figures = counted.setdefault(name, {"queries": 0.0, "hits": 0.0})
        figures[_COUNTERS[counter]] += float(value)  # one for each of its engines, and for each place of its cache
    figures = counted.get(model) or (next(iter(counted.values())) if len(counted) == 1 else {})
    return CacheUse(int(figures["queries"]), int(figures["hits"])) if figures else None
