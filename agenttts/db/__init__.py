"""The store: studies, trials, traces and the sample pool, in SQLite or PostgreSQL."""

from agenttts.db._samples import Sample, SampleTable, StoredPrompt
from agenttts.db._store import Store, Study

__all__ = ["Sample", "SampleTable", "Store", "StoredPrompt", "Study"]
