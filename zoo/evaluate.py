"""Score models stage by stage at one sample: the check used during training to choose checkpoints.

    python -m zoo.evaluate runs/zoo/xs-00900.pt agenttts/environments/tasks/minihop/weights/minihop-s.gguf

The examples are not the 400 of the pools, so choosing a checkpoint does not look at them.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import torch

from zoo import tokenizer
from zoo.examples import DEVELOPMENT_SEED, Example, make_examples
from zoo.model import Llama
from zoo.pools import TEMPERATURE
from zoo.sampling import sample
from zoo.weights import load_model
from zoo.worldfile import world


def size_of(path: Path) -> str:
    """Read the size from a file name like xs-00900.pt or minihop-xs.gguf."""
    return path.stem.removeprefix("minihop-").split("-")[0].split(".")[0]


def stage_scores(model: Llama, examples: list[Example], copies: int, temperature: float) -> dict[str, float]:
    """Return the mean one-sample score per stage, the union's recall over all copies, and mean reply lengths."""
    generator = torch.Generator(model.embed_tokens.weight.device).manual_seed(0)
    prompts = {
        "retrieve": [example.retrieve_ids() for example in examples],
        "answer": [example.answer_ids(example.needed) for example in examples],
    }
    limits = {"retrieve": world.RETRIEVE_MAX_TOKENS, "answer": world.ANSWER_MAX_TOKENS}
    replies = {
        stage: sample(model, ids, copies=copies, limit=limits[stage], temperature=temperature, generator=generator)
        for stage, ids in prompts.items()
    }
    found, union, correct, unknown = 0, 0, 0, 0
    for example, quotes, answers in zip(examples, replies["retrieve"], replies["answer"], strict=True):
        needed = set(example.needed)
        quoted = [set(world.quoted_facts(tokenizer.decode(ids), example.facts)) for ids in quotes]
        found += sum(needed <= one for one in quoted)
        union += needed <= set().union(*quoted)
        numbers = [world.parse_answer(tokenizer.decode(ids)) for ids in answers]
        correct += sum(number == example.answer for number in numbers)
        unknown += sum(number is None for number in numbers)
    draws = len(examples) * copies
    lengths = {f"{stage}_tokens": sum(len(ids) for r in rows for ids in r) / draws for stage, rows in replies.items()}
    return {
        "retrieve": found / draws,
        f"union@{copies}": union / len(examples),
        "answer": correct / draws,
        "no_number": unknown / draws,
        **lengths,
    }


def main() -> None:
    """Score the files named on the command line."""
    parser = argparse.ArgumentParser(description="One-sample scores of checkpoints or GGUF files.")
    parser.add_argument("files", nargs="+", type=Path)
    parser.add_argument("--examples", type=int, default=400)
    parser.add_argument("--copies", type=int, default=4)
    parser.add_argument("--temperature", type=float, default=TEMPERATURE)
    parser.add_argument("--seed", type=int, default=DEVELOPMENT_SEED, help="seed of the examples")
    parser.add_argument("--json", type=Path, help="also write the scores here")
    arguments = parser.parse_args()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    examples = make_examples(arguments.seed, arguments.examples)
    torch.set_float32_matmul_precision("high")
    table = {}
    for path in arguments.files:
        model = load_model(path, size_of(path), device)
        scores = table[path.stem] = stage_scores(model, examples, arguments.copies, arguments.temperature)
        print(path.name, *(f"{name}={value:.3f}" for name, value in scores.items()), flush=True)
    if arguments.json:
        settings = {
            "examples": arguments.examples,
            "copies": arguments.copies,
            "temperature": arguments.temperature,
        }
        arguments.json.write_text(json.dumps({"settings": settings, "scores": table}, indent=1) + "\n")


if __name__ == "__main__":
    main()
