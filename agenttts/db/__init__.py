"""The store: studies, trials, traces and the sample pool, in SQLite or PostgreSQL."""

from agenttts.db._engine import location
from agenttts.db._samples import Held, Sample, SampleTable, StoredPrompt
from agenttts.db._store import Store, Study

__all__ = ["Held", "Sample", "SampleTable", "Store", "StoredPrompt", "Study", "location"]
