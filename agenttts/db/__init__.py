"""The store: studies, trials, traces, transcripts and the sample pool, in SQLite or PostgreSQL."""

from agenttts.db._engine import in_memory, location
from agenttts.db._files import stores_in
from agenttts.db._overview import Activity, Overview, TrialOrder
from agenttts.db._samples import SampleTable
from agenttts.db._store import Store
from agenttts.db._study import Study
from agenttts.db._transcripts import PoolText, StoredTranscript, TranscriptTable
from agenttts.db._upkeep import StoreSize, Upkeep

__all__ = [
    "Activity",
    "Overview",
    "PoolText",
    "SampleTable",
    "Store",
    "StoreSize",
    "StoredTranscript",
    "Study",
    "TranscriptTable",
    "TrialOrder",
    "Upkeep",
    "in_memory",
    "location",
    "stores_in",
]
