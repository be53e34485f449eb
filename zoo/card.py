"""Write MODEL_CARD.md: every number in it comes from the pools, the weights or `zoo/records`.

    python -m zoo.card

`card_template.md` holds the words; each line of the form `{{name}}` is replaced by a table made here.
"""

from __future__ import annotations

import argparse
import csv
import json
import math
import re
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import cast

import numpy as np

from zoo import tokenizer
from zoo.config import CONFIGS
from zoo.contexts import RULES, Rule
from zoo.landscape import (
    ANSWER_COUNTS,
    MODELS,
    RETRIEVE_COUNTS,
    Allocation,
    Choice,
    Pools,
    load_pools,
    parameters,
)
from zoo.worldfile import PACKAGE, world

RECORDS = Path(__file__).parent / "records"
TEMPLATE = Path(__file__).parent / "card_template.md"
BUDGETS = (120, 200, 300, 450, 700, 1_000, 1_500, 2_200, 3_000, 4_500, 8_000, 20_000)


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return a Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)


def short(model: str) -> str:
    """Return a model's size."""
    return model.removeprefix("minihop-")


def share(scores: np.ndarray) -> str:
    """Return a mean over examples with its 95 % interval."""
    error = 1.96 * float(np.std(scores, ddof=1)) / math.sqrt(len(scores))
    return f"{float(np.mean(scores)):.3f} ±{error:.3f}"


# --- models and training ---------------------------------------------------------------------------------------


def models_table(_: Pools) -> str:
    """Shapes, sizes and training of the four models."""
    rows = []
    for config in CONFIGS.values():
        size = (PACKAGE / "weights" / f"{config.name}.gguf").stat().st_size / 1e6
        shape = f"{config.width} | {config.layers} | {config.heads} x {config.head_width} | {config.hidden}"
        counted = f"{parameters(config.name):,}"
        training = f"{config.learning_rate:g} | {config.steps:,} | {config.shipped:,}"
        rows.append([config.name, shape, counted, f"{size:.2f} MB", training])
    head = "model|width|layers|heads|feed-forward|parameters|Q8_0 file|peak learning rate|steps|step shipped".split("|")
    return table(head, rows)


def loss_table(_: Pools) -> str:
    """Training loss along the way."""
    with (RECORDS / "loss.csv").open() as file:
        rows = list(csv.DictReader(file))
    marks = {0, 250, 500, 1_000, 2_000, 3_000, 4_000, 5_000, 6_000, 6_950, 7_950}
    columns = [f"{size}_{task}" for size in CONFIGS for task in ("retrieve", "answer")]
    head = ["step", *(column.replace("_", " ") for column in columns)]
    return table(head, ([r["step"], *(r[c] or "-" for c in columns)] for r in rows if int(r["step"]) in marks))


def precision_table(_: Pools) -> str:
    """The same weights as f16 and as Q8_0."""
    record = json.loads((RECORDS / "precision.json").read_text())
    rows = []
    for row in record["rows"]:
        shipped = CONFIGS[row["size"]].shipped == row["step"]
        scores = [f"{row[kind][stage]:.3f}" for stage in ("retrieve", "answer") for kind in ("f16", "q8_0")]
        rows.append([row["size"], f"{row['step']:,}" + (" (shipped)" if shipped else ""), *scores])
    return table(["model", "step", "retrieve f16", "retrieve Q8_0", "answer f16", "answer Q8_0"], rows)


def tokens_table(pools: Pools) -> str:
    """Mean tokens and the cost of one sample."""
    rows = []
    for model in MODELS:
        cells: list[object] = [short(model)]
        for stage in ("retrieve", "answer"):
            prompt, generated = pools.lengths[stage, model]
            cells += [
                f"{prompt:.1f}",
                f"{generated:.1f}",
                f"{pools.stage_cost(stage, Choice(model, 1)):,.0f}",
            ]
        rows.append(cells)
    stages = [f"{stage}: {what}" for stage in ("retrieve", "answer") for what in ("prompt", "reply", "MFLOP, n = 1")]
    return table(["model", *stages], rows)


# --- stages ------------------------------------------------------------------------------------------------------


def greedy_scores(stage: str) -> dict[str, float]:
    """Return the recorded greedy accuracy of every model."""
    scores = json.loads((RECORDS / "greedy.json").read_text())["scores"]
    return {model: scores[model][stage] for model in MODELS}


def retrieve_table(pools: Pools, rule: Rule) -> str:
    """All needed facts found, by number of samples."""
    greedy = greedy_scores("retrieve")
    columns = [pools.retrieve_scores(model, rule) for model in MODELS]
    rows: list[Sequence[object]] = [["greedy, n = 1", *(f"{greedy[model]:.3f}" for model in MODELS)]]
    rows += [[n, *(share(scores[:, i]) for scores in columns)] for i, n in enumerate(RETRIEVE_COUNTS)]
    if rule == "union":
        extra = [pools.extra_facts(model, rule) for model in MODELS]
        for i in (0, RETRIEVE_COUNTS.index(16), len(RETRIEVE_COUNTS) - 1):
            rows.append(
                [
                    f"facts kept needlessly, n = {RETRIEVE_COUNTS[i]}",
                    *(f"{counts[i]:.2f}" for counts in extra),
                ]
            )
    return table(["samples", *map(short, MODELS)], rows)


def answer_table(pools: Pools) -> str:
    """Right answers, given exactly the needed facts, by number of voters."""
    greedy = greedy_scores("answer")
    columns = [pools.answer_scores(model) for model in MODELS]
    rows: list[Sequence[object]] = [["greedy, n = 1", *(f"{greedy[model]:.3f}" for model in MODELS)]]
    rows += [[n, *(share(scores[:, i]) for scores in columns)] for i, n in enumerate(ANSWER_COUNTS)]
    return table(["samples", *map(short, MODELS)], rows)


def needed_table(pools: Pools) -> str:
    """One-sample scores by number of needed facts."""
    sizes = np.array([len(example.needed) for example in pools.examples])
    groups = {"1": sizes == 1, "2": sizes == 2, "3": sizes == 3, "4 or 5": sizes >= 4}
    rows = []
    for name, chosen in groups.items():
        retrieve = [f"{pools.retrieve_scores(model, 'union')[chosen, 0].mean():.2f}" for model in MODELS]
        answer = [f"{pools.answer_scores(model)[chosen, 0].mean():.2f}" for model in MODELS]
        rows.append([name, int(chosen.sum()), " / ".join(retrieve), " / ".join(answer)])
    sizes_named = " / ".join(map(short, MODELS))
    return table(["needed facts", "examples", f"retrieve ({sizes_named})", f"answer ({sizes_named})"], rows)


# --- landscape -----------------------------------------------------------------------------------------------------


def say(allocation: Allocation | None) -> str:
    """Name an allocation with score and cost."""
    if allocation is None:
        return "-"
    stages = " + ".join(f"{short(choice.model)} x{choice.samples}" for choice in allocation[:2])
    return f"{allocation.score:.3f} {stages} ({allocation.cost:,.0f})"


def best(allocations: Iterable[Allocation]) -> Allocation | None:
    """Return the highest score, the cheapest among equals."""
    return max(allocations, key=lambda allocation: (allocation.score, -allocation.cost), default=None)


def landscape_table(pools: Pools, rule: Rule) -> str:
    """Best allocations by budget."""
    everything = pools.allocations(rule)
    largest = largest_once(everything)
    rows = []
    for budget in sorted({*BUDGETS, math.ceil(largest.cost)}):
        feasible = [allocation for allocation in everything if allocation.cost <= budget]
        single = best(a for a in feasible if a.retrieve.model == a.answer.model)
        top = best(feasible)
        gain = f"{100 * (top.score - single.score):+.1f}" if top and single else "-"
        median = f"{float(np.median([a.score for a in feasible])):.3f}" if feasible else "-"
        close = sum(a.score >= top.score - 0.02 for a in feasible) if top else 0
        rows.append([f"{budget:,}", len(feasible), say(top), say(single), gain, median, close])
    head = "budget|feasible|best|best with one model in both stages|gain, points|median|within .02 of the best"
    note = f"Largest model once in both stages: {say(largest)}."
    return table(head.split("|"), rows) + f"\n\n{note}"


def largest_once(allocations: Iterable[Allocation]) -> Allocation:
    """Return the allocation that buys one sample of the largest model in each stage."""
    once = Choice(MODELS[-1], 1)
    return next(a for a in allocations if a.retrieve == once and a.answer == once)


def equal_cost(pools: Pools) -> str:
    """Largest once against the best at its cost, paired over the examples."""
    everything = pools.allocations("union")
    largest = largest_once(everything)
    top = best(a for a in everything if a.cost <= largest.cost)
    if top is None:
        raise ValueError("no allocation is as cheap as the largest model once")
    difference = pools.example_scores(top, "union") - pools.example_scores(largest, "union")
    return f"{say(top)} against {say(largest)}: difference {share(difference)} (95 %, paired over the 400 examples)."


def readers_table(pools: Pools) -> str:
    """What the answer stage is worth after different retrieve stages."""
    everything = pools.allocations("union")
    befores = (Choice(MODELS[0], 1), Choice(MODELS[0], 16), Choice(MODELS[0], 64), Choice(MODELS[-1], 4))
    rows = []
    for before in befores:
        after = {a.answer: a.score for a in everything if a.retrieve == before}
        cells = [f"{after[Choice(model, 1)]:.3f} / {after[Choice(model, 8)]:.3f}" for model in MODELS]
        rows.append([f"{short(before.model)} x{before.samples}", *cells])
    return table(["retrieve stage", *(f"answer {short(m)} x1 / x8" for m in MODELS)], rows)


def examples_block(_: Pools) -> str:
    """One example with the prompts and replies the models are taught."""
    example = world.make_example(3)
    facts, needed = cast("list[str]", example["facts"]), cast("list[int]", example["needed"])
    question = str(example["question"])
    quotes = ". ".join(world.standard_wording(facts[index]) for index in reversed(needed))
    kept = [facts[index] for index in sorted(needed)]
    lines = [
        f"retrieve, user:  {world.retrieve_prompt(facts, question)}",
        f"retrieve, reply: {quotes}",
        f"answer, user:    {world.answer_prompt(kept, question)}",
        f"answer, reply:   ... answer {example['answer']}",
        f"chat template:   {tokenizer.CHAT_TEMPLATE}",
    ]
    return "```\n" + "\n".join(lines) + "\n```"


def verifier_table(_: Pools) -> str:
    """What verifiers of three sizes make of eight replies to fresh questions."""
    held = json.loads((RECORDS / "verifier.json").read_text())
    lines = [
        "| shape, steps | stage | replies of | right | verdicts right | AUC | vote of 8 | favourite of 8 | any of 8 |",
        "| --- " * 9 + "|",
    ]
    for key, found in held.items():
        verifier, stage, author = key.split()
        size, steps = verifier.split("-")
        figures = " | ".join(f"{found[name]:.3f}" for name in ("right", "verdicts", "auc", "vote", "favourite", "any"))
        lines.append(f"| {size}, {int(steps):,} | {stage} | {author} | {figures} |")
    return "\n".join(lines)


SECTIONS: dict[str, Callable[[Pools], str]] = {
    "models": models_table,
    "loss": loss_table,
    "precision": precision_table,
    "tokens": tokens_table,
    "answer": answer_table,
    "needed": needed_table,
    "equal_cost": equal_cost,
    "readers": readers_table,
    "example": examples_block,
    "verifier": verifier_table,
    **{f"retrieve_{rule}": partial(retrieve_table, rule=rule) for rule in RULES},
    **{f"landscape_{rule}": partial(landscape_table, rule=rule) for rule in RULES},
}


def main() -> None:
    """Fill the template."""
    parser = argparse.ArgumentParser(description="Write the model card.")
    parser.add_argument("--out", type=Path, default=PACKAGE / "MODEL_CARD.md")
    arguments = parser.parse_args()
    pools = load_pools(PACKAGE / "pools.jsonl.xz")
    filled = re.sub(r"\{\{(\w+)\}\}", lambda match: SECTIONS[match[1]](pools), TEMPLATE.read_text())
    arguments.out.write_text(filled)


if __name__ == "__main__":
    main()
