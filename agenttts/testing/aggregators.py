"""What every aggregator promises to the subtask that uses it, and to the cost models that price it."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np

from agenttts.execution.pool import SamplePool
from agenttts.execution.run import ExampleRun
from agenttts.pipeline import Aggregator, Message, Model, Pipeline, Subtask
from agenttts.pipeline.metrics import equal
from agenttts.space import Allocation
from agenttts.testing.client import ScriptedClient

_MODEL = Model("m", 1e9)


class AggregatorSuite(ABC):
    """Inherit in a test module, and say how the aggregator is made; pytest finds the tests:

    class TestMine(AggregatorSuite):
        def make(self) -> Aggregator:
            return MyVote()
    """

    values: Sequence[str] = ("1", "2", "2", "3")
    """Samples, in the order in which they are drawn."""

    @abstractmethod
    def make(self) -> Aggregator:
        """The aggregator."""

    def test_a_single_sample_is_passed_on_without_a_request_of_its_own(self) -> None:
        client = self._client()
        assert self._output(client, 1) == self.values[0] and client.requests == 1

    def test_the_same_samples_give_the_same_output(self) -> None:
        assert self._output(self._client(), 4) == self._output(self._client(), 4)

    def test_more_samples_never_cost_less_and_none_cost_nothing_less_than_zero(self) -> None:
        counts = np.arange(1, 33)
        for tokens in self.make().extra_tokens(counts, 100.0, 20.0):
            values = np.broadcast_to(np.asarray(tokens, dtype=float), counts.shape)
            assert values[0] == 0 and (np.diff(values) >= 0).all()

    def test_its_price_is_the_same_for_one_number_as_within_many(self) -> None:
        prompt, completion = self.make().extra_tokens(np.array([1, 2, 7]), 100.0, 20.0)
        alone = [self.make().extra_tokens(count, 100.0, 20.0) for count in (1, 2, 7)]
        assert np.allclose([float(pair[0]) for pair in alone], prompt)
        assert np.allclose([float(pair[1]) for pair in alone], completion)

    def test_only_a_price_above_nothing_allows_requests_of_its_own(self) -> None:
        client, (prompt, completion) = self._client(), self.make().extra_tokens(4, 100.0, 20.0)
        self._output(client, 4)
        assert client.requests == 1 or float(prompt) + float(completion) > 0

    def _client(self) -> ScriptedClient:
        def reply(model: Model, messages: Sequence[Message], position: int) -> str:
            return self.values[position % len(self.values)]

        return ScriptedClient(reply)

    def _output(self, client: ScriptedClient, samples: int) -> object:
        subtask = Subtask("s", (_MODEL,), "{{ question }}", aggregator=self.make())
        pipeline = Pipeline("p", (subtask,), metric=equal("question"))
        allocation = Allocation({"s": ("m", samples)})
        return asyncio.run(ExampleRun(pipeline, allocation, {"id": "1", "question": "q"}, client, SamplePool()).walk())
