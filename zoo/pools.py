"""Record the sample pools: real replies of the shipped (Q8_0) weights to the 400 evaluation examples.

    python -m zoo.pools --weights WEIGHTS_DIR --out OUT_DIR

First every model's retrieve samples; from them every set of kept facts that any model, sample count and rule leads
to, and the exactly needed set; then every model's answer samples for each of these. Each OUT_DIR/part-N.jsonl.xz
holds a share of the examples; `--join` packs the parts into the one file that ships.
"""

from __future__ import annotations

import argparse
import json
import lzma
import multiprocessing
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TypedDict, TypeVar

import torch

from zoo import tokenizer
from zoo.config import CONFIGS
from zoo.contexts import Kept, prefix_contexts
from zoo.examples import Example, evaluation_examples
from zoo.model import Llama
from zoo.sampling import sample
from zoo.weights import load_model
from zoo.worldfile import world

TEMPERATURE = 0.8
RETRIEVE_SAMPLES = 64
PARTS = 4
_Value = TypeVar("_Value")


class Line(TypedDict, total=False):
    """One line of the pool file."""

    stage: str
    example: str
    facts: list[int]
    """Kept facts; lines of the answer stage and of verdicts on its replies."""
    author: str
    """Model whose reply is judged; lines of verdicts only."""
    reply: int
    """Which of the author's distinct replies is judged."""
    model: str
    prompt_tokens: int
    texts: list[str]
    """Distinct replies."""
    completion_tokens: list[int]
    """Tokens of each distinct reply, its end token included."""
    order: list[int]
    """Which reply each sample was, in draw order."""


def drawn(line: Line, values: Sequence[_Value]) -> list[_Value]:
    """Spread values of a line's distinct replies over its samples."""
    return [values[index] for index in line["order"]]


def pool_line(key: Line, model: str, prompt: list[int], replies: list[list[int]]) -> Line:
    """Build one line: distinct replies with their token counts, and which of them each draw was."""
    distinct: dict[tuple[int, ...], int] = {}
    order = [distinct.setdefault(tuple(ids), len(distinct)) for ids in replies]
    return {
        **key,
        "model": model,
        "prompt_tokens": len(prompt),
        "texts": [tokenizer.decode(list(ids)) for ids in distinct],
        "completion_tokens": [len(ids) for ids in distinct],
        "order": order,
    }


class Recorder:
    """Samples the stages of given examples."""

    def __init__(self, models: dict[str, Llama], examples: list[Example], seed: int) -> None:
        self.models, self.examples = models, examples
        device = next(iter(models.values())).embed_tokens.weight.device
        self.generator = torch.Generator(device).manual_seed(seed)

    def retrieve(self, copies: int) -> list[Line]:
        """Draw every model's retrieve samples."""
        prompts = [example.retrieve_ids() for example in self.examples]
        keys: list[Line] = [{"stage": "retrieve", "example": example.name} for example in self.examples]
        return self._draw(prompts, keys, copies, world.RETRIEVE_MAX_TOKENS)

    def answer(self, contexts: list[tuple[int, Kept]], copies: int) -> list[Line]:
        """Draw every model's answer samples for (example position, kept facts)."""
        prompts = [self.examples[position].answer_ids(kept) for position, kept in contexts]
        keys: list[Line] = [
            {"stage": "answer", "example": self.examples[position].name, "facts": list(kept)}
            for position, kept in contexts
        ]
        return self._draw(prompts, keys, copies, world.ANSWER_MAX_TOKENS)

    def _draw(self, prompts: list[list[int]], keys: list[Line], copies: int, limit: int) -> list[Line]:
        lines = []
        for size, model in self.models.items():
            started = time.monotonic()
            replies = sample(
                model, prompts, copies=copies, limit=limit, temperature=TEMPERATURE, generator=self.generator
            )
            name = CONFIGS[size].name
            lines += [pool_line(*row) for row in zip(keys, [name] * len(keys), prompts, replies, strict=True)]
            print(f"{size}: {len(prompts)} x {copies} in {time.monotonic() - started:.1f} s", flush=True)
        return lines


def contexts_of(examples: list[Example], retrieved: list[Line]) -> list[tuple[int, Kept]]:
    """Return every (example position, kept facts) that answers are needed for."""
    positions = {example.name: index for index, example in enumerate(examples)}
    contexts = {(index, example.needed) for index, example in enumerate(examples)}
    for line in retrieved:
        position = positions[line["example"]]
        quoted = [world.quoted_facts(text, examples[position].facts) for text in line["texts"]]
        contexts |= {(position, kept) for kept in prefix_contexts(drawn(line, quoted))}
    return sorted(contexts)


def example_number(line: Line) -> int:
    """Return the index of a line's example."""
    return int(line["example"].rpartition("-")[2])


def _write_part(path: Path, lines: list[Line]) -> None:
    path.write_bytes(compress(lines, preset=6))


def compress(lines: list[Line], preset: int) -> bytes:
    """Pack lines, sorted so that alike texts lie together, as xz."""
    ordered = sorted(lines, key=lambda line: (line["stage"], line["example"], line.get("facts", []), line["model"]))
    text = "".join(json.dumps(line, separators=(",", ":")) + "\n" for line in ordered)
    return lzma.compress(text.encode(), preset=preset, check=lzma.CHECK_CRC64)


def read_lines(path: Path) -> list[Line]:
    """Read a pool file."""
    return [json.loads(line) for line in lzma.decompress(path.read_bytes()).splitlines()]


def record(weights: Path, out: Path, answer_samples: int, seed: int) -> None:
    """Sample everything and write the parts."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.set_float32_matmul_precision("high")  # llama.cpp rounds activations more coarsely than TF32 does
    models = {size: load_model(weights / f"minihop-{size}.gguf", size, device) for size in CONFIGS}
    examples = evaluation_examples()
    recorder = Recorder(models, examples, seed)
    retrieved = recorder.retrieve(RETRIEVE_SAMPLES)
    contexts = contexts_of(examples, retrieved)
    print(
        f"{len(contexts)} contexts, {sum(len(kept) for _, kept in contexts) / len(contexts):.1f} facts",
        flush=True,
    )
    lines = retrieved + recorder.answer(contexts, answer_samples)
    shares: list[list[Line]] = [[] for _ in range(PARTS)]
    for line in lines:
        shares[example_number(line) * PARTS // len(examples)].append(line)
    out.mkdir(parents=True, exist_ok=True)
    with multiprocessing.get_context("spawn").Pool(PARTS) as pool:
        pool.starmap(_write_part, [(out / f"part-{i}.jsonl.xz", share) for i, share in enumerate(shares)])


def main() -> None:
    """Parse the command line; record or join."""
    parser = argparse.ArgumentParser(description="Record the minihop sample pools.")
    parser.add_argument("--weights", type=Path, help="folder of the GGUF files")
    parser.add_argument("--out", type=Path, required=True, help="folder of the parts")
    parser.add_argument("--join", type=Path, help="pack the parts into this file instead of sampling")
    parser.add_argument("--answer-samples", type=int, default=32)
    parser.add_argument("--seed", type=int, default=7)
    arguments = parser.parse_args()
    if arguments.join:
        parts = sorted(arguments.out.glob("part-*.jsonl.xz"))
        arguments.join.write_bytes(compress([line for part in parts for line in read_lines(part)], preset=9))
    else:
        record(arguments.weights, arguments.out, arguments.answer_samples, arguments.seed)


if __name__ == "__main__":
    main()
