"""A plain async function with several named steps is a pipeline."""

from __future__ import annotations

from collections.abc import Mapping

from agenttts.pipeline import Example, StepRun
from tests.adapters.conftest import CHOSEN, Models, environment, require_metered


async def run(example: Example, steps: Mapping[str, StepRun]) -> str:
    fact = await steps["find"].ask(f"question {example['question']}")
    return str(await steps["answer"].ask([{"role": "user", "content": f"Use {fact}"}]))


async def draw_all(example: Example, steps: Mapping[str, StepRun]) -> str:
    (found,) = await steps["find"].draw([{"role": "user", "content": f"question {example['question']}"}])
    drafts = await steps["answer"].draw([{"role": "user", "content": found}])
    return drafts[-1].rpartition("Answer: ")[2]


async def test_models_and_samples_come_from_the_allocation(models: Models) -> None:
    found = environment(run, models)
    require_metered(await found.evaluate(CHOSEN), await found.evaluate(CHOSEN), models)


async def test_raw_samples_are_metered_too(models: Models) -> None:
    found = environment(draw_all, models)
    require_metered(await found.evaluate(CHOSEN), await found.evaluate(CHOSEN), models)


async def test_a_reply_is_the_whole_sample_that_won(models: Models) -> None:
    replies: list[str] = []

    async def whole(example: Example, steps: Mapping[str, StepRun]) -> str:
        replies.append(await steps["answer"].reply(f"Use fact of {example['question']}"))
        return replies[-1].rpartition("Answer: ")[2]

    evaluation = await environment(whole, models).evaluate(CHOSEN)
    assert evaluation.score == 1 and replies[0] == "thought 1\nAnswer: fact of q0"


def test_another_function_is_another_pipeline(models: Models) -> None:
    one, other = environment(run, models).fingerprints, environment(draw_all, models).fingerprints
    assert {part for part in one if one[part] != other[part]} == {"the pipeline's function"}
