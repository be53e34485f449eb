"""What every environment promises to the search that uses it."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Sequence

from agenttts.errors import ConfigError
from agenttts.execution.pool import SamplePool
from agenttts.protocols import Environment
from agenttts.space import Allocation
from agenttts.study.evaluation import Evaluation


class EnvironmentSuite(ABC):
    """Inherit in a test module, and say how the environment is made; pytest finds the tests:

    class TestMine(EnvironmentSuite):
        def make(self) -> Environment:
            return MyEnvironment()

        def allocation(self) -> Allocation:
            return Allocation({"answer": ("small", 3)})
    """

    @abstractmethod
    def make(self) -> Environment:
        """An environment, made anew."""

    @abstractmethod
    def allocation(self) -> Allocation:
        """One that it can evaluate."""

    def test_its_examples_have_distinct_ids_and_the_held_out_ones_are_others(self) -> None:
        environment = self.make()
        ids = [*environment.examples, *environment.held_out]
        assert environment.examples and len(set(ids)) == len(ids)

    def test_every_example_is_scored_once_in_the_order_asked(self) -> None:
        environment = self.make()
        asked = [*reversed(environment.examples), *environment.held_out]
        assert [result.example for result in self._evaluate(environment, asked).results] == asked
        assert [result.example for result in self._evaluate(environment, None).results] == [*environment.examples]

    def test_a_score_does_not_depend_on_what_else_is_asked(self) -> None:
        environment, pool = self.make(), SamplePool()
        whole = self._evaluate(environment, None, pool)
        part = self._evaluate(environment, environment.examples[:1], pool)
        assert part.results[0].score == whole.results[0].score and part.spend.tokens == 0

    def test_an_unknown_example_is_one_sentence(self) -> None:
        try:
            self._evaluate(self.make(), ["no such example"])
        except ConfigError as error:
            assert "no such example" in str(error)
        else:
            raise AssertionError("an example that does not exist was scored")

    def test_it_is_not_changed_by_use_and_is_the_same_when_made_again(self) -> None:
        environment = self.make()
        before = environment.fingerprint, environment.pipeline, environment.recorded
        self._evaluate(environment, None)
        assert (environment.fingerprint, environment.pipeline, environment.recorded) == before
        assert self.make().fingerprint == before[0]

    def test_searches_at_once_are_charged_apart(self) -> None:
        pools = [SamplePool(), SamplePool()]

        async def both() -> list[Evaluation]:
            async with self.make() as entered:
                return await asyncio.gather(*(entered.evaluate(self.allocation(), pool=pool) for pool in pools))

        one, other = asyncio.run(both())
        assert [result.score for result in one.results] == [result.score for result in other.results]
        for evaluation, pool in zip((one, other), pools, strict=True):
            assert evaluation.spend.tokens == pool.meter.spent.tokens

    def _evaluate(
        self, environment: Environment, examples: Sequence[str] | None, pool: SamplePool | None = None
    ) -> Evaluation:
        async def evaluated() -> Evaluation:
            async with environment as entered:
                return await entered.evaluate(self.allocation(), examples, pool=pool or SamplePool())

        return asyncio.run(evaluated())
