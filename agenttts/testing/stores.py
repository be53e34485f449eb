"""What every store of samples promises to the pool that draws from it."""

from __future__ import annotations

import uuid
from abc import ABC, abstractmethod

from agenttts.llm.samples import Held, Sample, SampleStore, Spend, StoredPrompt


class SampleStoreSuite(ABC):
    """Inherit in a test module, and say how the store is made; pytest finds the tests:

    class TestMine(SampleStoreSuite):
        def make(self) -> SampleStore:
            return MySamples()
    """

    @abstractmethod
    def make(self) -> SampleStore:
        """A store, which may hold the samples of other tests."""

    def test_a_new_key_holds_nothing(self) -> None:
        assert self.make().read(_key(), 3) == Held(0, [], [0, 1, 2])

    def test_the_first_samples_answer_whatever_was_added_when(self) -> None:
        store, key = self.make(), _key()
        _add(store, key, 0, "a", "b")
        _add(store, key, 2, "c")
        assert store.read(key, 2) == Held(7, [Sample("a", 1), Sample("b", 1)], [])
        assert [sample.text for sample in store.read(key, 3).samples] == ["a", "b", "c"]
        assert store.read(key, 5).missing == [3, 4]

    def test_samples_behind_a_gap_are_kept_and_the_gap_is_told(self) -> None:
        store, key = self.make(), _key()
        _add(store, key, 0, "a")
        _add(store, key, 2, "c")
        held = store.read(key, 3)
        assert [sample.text for sample in held.samples] == ["a"] and held.missing == [1]
        _add(store, key, 1, "b")
        assert [sample.text for sample in store.read(key, 3).samples] == ["a", "b", "c"]

    def test_a_sample_never_changes_once_it_is_there(self) -> None:
        store, key = self.make(), _key()
        _add(store, key, 0, "first")
        _add(store, key, 0, "second", "next")
        assert [sample.text for sample in store.read(key, 2).samples] == ["first", "next"]

    def test_any_text_comes_back_as_it_was(self) -> None:
        store, key = self.make(), _key()
        texts = ["", " ", "'; drop table samples; --", "\u202eabc", "\U0001f600", "a\r\nb", "x" * 100_000]
        _add(store, key, 0, *texts)
        assert [sample.text for sample in store.read(key, len(texts)).samples] == texts

    def test_one_at_a_time_may_pay_for_a_key(self) -> None:
        store, key = self.make(), _key()
        _add(store, key, 0, "a")
        assert store.claim(key, "one", 60, 2) == Held(7, [Sample("a", 1)], [1])
        assert store.claim(key, "other", 60, 2) is None and store.claim(key, "one", 60, 2) is not None
        store.release(key, "other")
        assert store.claim(key, "other", 60, 2) is None
        store.release(key, "one")
        assert store.claim(key, "other", 60, 2) is not None

    def test_a_claim_that_is_not_renewed_is_soon_free(self) -> None:
        store, key = self.make(), _key()
        assert store.claim(key, "dead", -1, 1) is not None
        assert store.claim(key, "living", 60, 1) is not None


def _key() -> str:
    return uuid.uuid4().hex


def _add(store: SampleStore, key: str, start: int, *texts: str) -> None:
    prompt = StoredPrompt(key, "m", "suite", [{"role": "user", "content": "?"}], {"temperature": 0.9}, 7)
    samples = [Sample(text, 1) for text in texts]
    store.add(prompt, start, samples, spend=Spend(requests=1, prompt_tokens=7), study_id=None)
