"""What a pool draws from: the database of either kind, and a dictionary."""

from __future__ import annotations

import pytest

from agenttts.db import Store
from agenttts.execution.memory import MemorySamples
from agenttts.llm.samples import SampleStore
from agenttts.testing import SampleStoreSuite


class TestDatabase(SampleStoreSuite):
    @pytest.fixture(autouse=True)
    def opened(self, any_store: Store) -> None:
        self.store = any_store

    def make(self) -> SampleStore:
        return self.store.samples


class TestDictionary(SampleStoreSuite):
    def make(self) -> SampleStore:
        return MemorySamples()
