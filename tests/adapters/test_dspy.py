"""A program written in DSPy is searched as it is, but for the objects of its models."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from agenttts.errors import ConfigError
from agenttts.pipeline import Example, StepRun
from tests.adapters.conftest import CHOSEN, Models, environment, require_metered

dspy = pytest.importorskip("dspy", reason="DSPy is not installed: pip install 'agenttts[dspy]'")
Module: Any = dspy.Module
MARKER = "[[ ## answer ## ]]\n"
REPLY = MARKER + "{text}\n[[ ## completed ## ]]"


@pytest.fixture
def models() -> Models:
    return Models(REPLY)


def users_program(finder: Any, answerer: Any) -> Any:
    """As a user has it: it knows nothing of agenttts."""

    class Program(Module):  # type: ignore[misc]  # DSPy has no types
        def __init__(self) -> None:
            super().__init__()
            self.find, self.answer = dspy.Predict("question -> answer"), dspy.Predict("context -> answer")
            self.find.set_lm(finder)
            self.answer.set_lm(answerer)

        def forward(self, question: str) -> Any:
            fact = self.find(question=f"question {question}").answer
            return self.answer(context=fact)

        async def aforward(self, question: str) -> Any:
            fact = (await self.find.acall(question=f"question {question}")).answer
            return await self.answer.acall(context=fact)

    return Program()


def make_program() -> Any:
    from agenttts.adapters.dspy import step_model

    return users_program(step_model("find"), step_model("answer"))


async def test_models_and_samples_come_from_the_allocation(models: Models) -> None:
    program = make_program()

    async def run(example: Example, steps: Mapping[str, StepRun]) -> str:
        return str((await program.acall(question=example["question"])).answer)

    found = environment(run, models, MARKER)
    require_metered(await found.evaluate(CHOSEN), await found.evaluate(CHOSEN), models)


async def test_a_blocking_program_runs_in_threads(models: Models) -> None:
    program = dspy.asyncify(make_program())

    async def run(example: Example, steps: Mapping[str, StepRun]) -> str:
        return str((await program(question=example["question"])).answer)

    found = environment(run, models, MARKER)
    require_metered(await found.evaluate(CHOSEN), await found.evaluate(CHOSEN), models)


async def test_a_step_is_asked_only_while_its_pipeline_runs() -> None:
    with pytest.raises(Exception, match="can be asked only while its pipeline") as caught:
        await make_program().acall(question="q")
    causes = [caught.value, caught.value.__cause__, caught.value.__context__]
    assert any(isinstance(cause, ConfigError) for cause in causes)
