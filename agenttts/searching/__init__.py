"""A search from its plan to its result: the loop, racing, methods by name, recording."""

from agenttts.searching.methods import method_names, searcher
from agenttts.searching.plan import Recommend, SearchPlan
from agenttts.searching.progress import Limits, Progress, SearchResult
from agenttts.searching.racing import Racing
from agenttts.searching.recording import record
from agenttts.searching.start import search

__all__ = [
    "Limits",
    "Progress",
    "Racing",
    "Recommend",
    "SearchPlan",
    "SearchResult",
    "method_names",
    "record",
    "search",
    "searcher",
]
