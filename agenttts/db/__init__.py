"""The store: studies, trials, traces and the sample pool, in SQLite or PostgreSQL."""

from agenttts.db._engine import location
from agenttts.db._files import stores_in
from agenttts.db._samples import SampleTable
from agenttts.db._store import Store, Study
from agenttts.db._transcripts import PoolText, StoredTranscript, TranscriptTable

__all__ = [
    "PoolText",
    "SampleTable",
    "Store",
    "StoredTranscript",
    "Study",
    "TranscriptTable",
    "location",
    "stores_in",
]
