"""What every operator promises to the subtask that uses it, and to the cost models that price it."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from agenttts.execution.pool import SamplePool
from agenttts.execution.run import ExampleRun
from agenttts.pipeline import Message, Model, Operator, Pipeline, Subtask
from agenttts.pipeline.metrics import equal
from agenttts.pipeline.operator import Lengths, Load
from agenttts.pipeline.operators import Vote
from agenttts.space import Allocation
from agenttts.testing.client import ScriptedClient

_MODEL = Model("m", 1e9)
_COUNTS = range(1, 33)
_LENGTHS = Lengths(prompt=100.0, completion=20.0)


class OperatorSuite(ABC):
    """Inherit in a test module, and say how the operator is made; pytest finds the tests:

    class TestMine(OperatorSuite):
        def make(self) -> Operator:
            return Debate(rounds=2)
    """

    replies: Sequence[str] = ("1", "2", "2", "3", "2", "1", "yes", "no")
    """What models answer, in the order in which samples of one prompt are drawn."""

    @abstractmethod
    def make(self) -> Operator:
        """The operator."""

    def test_the_same_samples_give_the_same_output(self) -> None:
        client, pool = self._client(), SamplePool()
        first = self._output(client, pool, 8)
        requests = client.requests
        assert self._output(client, pool, 8) == first and client.requests == requests

    def test_it_never_asks_for_more_than_its_worst_price(self) -> None:
        for samples in (self._least, self._least + 1, self._least + 5, 16):
            drawn: Counter[str] = Counter()
            self._output(self._client(drawn), SamplePool(), samples)
            worst = _samples_by_model(self.make().worst_loads(samples, _LENGTHS))
            for model, count in drawn.items():
                assert count <= worst[model] + 1e-6, f"{count} samples of {model} drawn, {worst[model]} priced"

    def test_its_price_is_a_mean_that_is_not_over_its_worst(self) -> None:
        for samples in _COUNTS:
            mean = _samples_by_model(self.make().loads(samples, _LENGTHS))
            worst = _samples_by_model(self.make().worst_loads(samples, _LENGTHS))
            assert all(mean[model] <= worst[model] + 1e-6 for model in mean)

    def test_more_samples_never_cost_less(self) -> None:
        tokens = [_tokens(self.make().loads(samples, _LENGTHS)) for samples in range(self._least, 33)]
        assert (np.diff(tokens) >= -1e-9).all() and tokens[0] > 0

    def test_its_price_is_the_same_for_one_number_as_within_many(self) -> None:
        many = np.broadcast_to(_tokens(self.make().loads(np.array(_COUNTS), _LENGTHS)), len(_COUNTS))
        assert np.allclose(many, [float(_tokens(self.make().loads(count, _LENGTHS))) for count in _COUNTS])

    def test_its_name_can_stand_in_an_allocation(self) -> None:
        allocation = Allocation({"s": ("m", 8, self.make().name)})
        assert Allocation.from_key(allocation.key) == allocation

    @property
    def _least(self) -> int:
        return self.make().least_samples

    def _client(self, drawn: Counter[str] | None = None) -> ScriptedClient:
        def reply(model: Model, messages: Sequence[Message], position: int) -> str:
            if drawn is not None:
                drawn[model.name] += 1
            return self.replies[position % len(self.replies)]

        return ScriptedClient(reply)

    def _output(self, client: ScriptedClient, pool: SamplePool, samples: int) -> object:
        operator = self.make()
        subtask = Subtask("s", (_MODEL,), "{{ question }}", operators=(_Other(), operator))
        pipeline = Pipeline("p", (subtask,), metric=equal("question"))
        allocation = Allocation({"s": ("m", samples, operator.name)})
        return asyncio.run(ExampleRun(pipeline, allocation, {"id": "1", "question": "q"}, client, pool).walk())


class _Other(Vote):
    """Something to be the first operator, so that the tested one is named."""

    @property
    def name(self) -> str:
        return "other"


def _samples_by_model(loads: Sequence[Load]) -> dict[str, float]:
    found: dict[str, float] = {}
    for load in loads:
        name = (load.model or _MODEL).name
        found[name] = found.get(name, 0.0) + float(load.requests * load.choices)
    return found


def _tokens(loads: Sequence[Load]) -> Any:
    return sum(load.requests * (load.prompt + np.multiply(load.choices, load.completion)) for load in loads)
