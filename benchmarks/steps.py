"""Step search with a reward model on real vLLM servers: that it runs, what it takes, and that a replay takes nothing.

    python benchmarks/steps.py --weights WEIGHTS --out benchmarks/results/steps_vllm.md
    python benchmarks/steps.py --url http://HOST:8000/v1 --reward-url http://HOST:8001/v1

WEIGHTS holds minihop-m and minihop-l in Hugging Face's format (see `gpu.py`), which this script serves. minihop-m
answers minihop's questions from the facts that they need, sentence by sentence. A sentence is scored by how much rather
minihop-l would go on with the word "answer" than with "unknown": a model that was NOT trained to judge, so that the
scores below say nothing of what step search is worth. `--reward-words NO YES` reads two tokens of a model that was.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import agenttts as at
from agenttts.environments.tasks.minihop import world
from agenttts.environments.tasks.minihop.pipeline import MODELS
from agenttts.execution.pool import SamplePool
from agenttts.serving import VllmServing
from agenttts.serving.gpus import found_cards, parse_cards

ANSWERS, REWARDS = "minihop-m", "minihop-l"
SHAPES = {model.name: model for model in MODELS}


def prompt(given: at.SubtaskInput) -> list[dict[str, str]]:
    facts = [given.example["facts"][index] for index in given.example["needed"]]
    asked = world.answer_prompt(facts, given.example["question"])
    return [{"role": "system", "content": "answer"}, {"role": "user", "content": asked}]


def number(sample: str, given: at.SubtaskInput) -> int | None:
    return world.parse_answer(sample)


def models(url: str | None = None, reward_url: str | None = None) -> tuple[at.Model, at.Model]:
    """Who answers, and who scores."""
    found = []
    for name, base_url in ((ANSWERS, url), (REWARDS, reward_url)):
        shape = SHAPES[name]
        figures = {"layers": shape.layers, "hidden_size": shape.hidden_size, "weight_bits": 16}
        # The reward is read right behind the step, not behind the end of the message.
        request = {"continue_final_message": True} if name == REWARDS else {}
        found.append(at.Model(name, shape.parameters, base_url=base_url, request=request, **figures))
    return found[0], found[1]


def stage(answers: at.Model, operators: tuple[at.operators.Operator, ...]) -> at.Pipeline:
    subtask = at.Subtask("answer", (answers,), prompt, parser=number, default="unknown", operators=operators,
                         sampling=at.Sampling(temperature=0.8, max_tokens=world.ANSWER_MAX_TOKENS),
                         prompt_tokens=41, completion_tokens=43.6, max_samples=16)  # fmt: skip
    return at.Pipeline("steps", (subtask,), metric=at.metrics.equal("answer"))


def operators(reward: at.Model) -> tuple[at.operators.Operator, ...]:
    steps = {"separator": ".", "tokens": 9, "step_tokens": 32, "depth": 12}
    rebase = at.operators.StepSearch(reward, **steps)
    ets = at.operators.StepSearch(reward, sharing=1.0, diversity=1.5, **steps)
    apart = at.operators.StepSearch(reward, width=4, temperature=0, **steps)
    return (at.operators.Vote(), rebase, ets, apart)


@asynccontextmanager
async def served(arguments: argparse.Namespace) -> AsyncIterator[tuple[str, str]]:
    """Where the two models are asked."""
    if arguments.url:
        yield arguments.url, arguments.reward_url
        return
    answers, reward = models()
    cards = parse_cards(arguments.pretend) if arguments.pretend else found_cards()
    heads = {"architectures": ["LlamaForSequenceClassification"], "classifier_from_token": arguments.reward_words,
             "method": "from_2_way_softmax"}  # fmt: skip
    kinds = {answers: [], reward: ["--runner", "pooling", "--hf-overrides", json.dumps(heads)]}
    servings = [
        VllmServing(
            stage(model, (at.operators.Vote(),)),
            weights={model.name: str(arguments.weights / model.name)},
            cards=cards,
            arguments=further,
            tell=lambda said: print(said, file=sys.stderr, flush=True),
        )
        for model, further in kinds.items()
    ]
    try:
        urls = [url for serving in servings for url in (await serving.start()).values()]
        yield urls[0], urls[1]
    finally:
        for serving in servings:
            await serving.stop()


async def table(url: str, reward_url: str, examples: int) -> list[str]:
    """What each operator scores, what it takes, and what that was priced at."""
    answers, reward = models(url, reward_url)
    pipeline = stage(answers, operators(reward))
    rows = [world.make_example(index) for index in range(examples)]
    lines = ["| allocation | score | requests | prompt tokens | priced | generated tokens | priced | on replay |",
             "|---|---|---|---|---|---|---|---|"]  # fmt: skip
    async with at.LiveEnvironment(pipeline, rows) as environment:
        for pairing in pipeline.subtasks[0].pairings:
            for samples in (1, 4, 8):
                if samples < pairing.least_samples:
                    continue
                allocation, pool = at.Allocation({"answer": at.Choice.of(pairing.name, samples)}), SamplePool()
                evaluation = await environment.evaluate(allocation, pool=pool)
                again = await environment.evaluate(allocation, pool=pool)
                loads = pairing.operator.loads(samples, pipeline.subtasks[0].lengths(answers))
                asked = sum(float(load.requests * load.prompt) for load in loads)
                generated = sum(float(load.requests * load.choices * load.completion) for load in loads)
                spend = evaluation.spend
                lines.append(
                    f"| {allocation} | {evaluation.score:.2f} | {spend.requests / examples:.1f} | "
                    f"{spend.prompt_tokens / examples:.0f} | {asked:.0f} | {spend.completion_tokens / examples:.0f} | "
                    f"{generated:.0f} | {again.spend.tokens} tokens, score {again.score:.2f} |"
                )
    return lines


async def run(arguments: argparse.Namespace) -> str:
    async with served(arguments) as (url, reward_url):
        lines = await table(url, reward_url, arguments.examples)
    head = [
        "# Step search on vLLM",
        "",
        f"{arguments.examples} examples; figures per example. minihop-m answers; minihop-l, which was NOT trained to",
        "judge, scores. This is what step search takes, not what it is worth.",
        "",
    ]
    return "\n".join([*head, *lines]) + "\n"


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", type=Path, help="folder with a folder for each model")
    parser.add_argument("--url", help="a server of minihop-m that is there")
    parser.add_argument("--reward-url", help="and one of minihop-l, for pooling")
    parser.add_argument("--reward-words", nargs=2, default=["Ġunknown", "Ġanswer"], metavar=("BAD", "GOOD"))
    parser.add_argument("--examples", type=int, default=50)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--pretend", metavar="COUNTxGIB", help="rehearse without a GPU")
    arguments = parser.parse_args()
    if not (arguments.weights or (arguments.url and arguments.reward_url)):
        parser.error("give --weights, or --url and --reward-url")
    said = asyncio.run(run(arguments))
    print(said)
    if arguments.out:
        arguments.out.write_text(said)


if __name__ == "__main__":
    main()
