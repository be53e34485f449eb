"""Train verifiers: models that say of a reply, yes or no, whether it is right.

    python -m zoo.verifier --weights agenttts/environments/tasks/minihop/weights --out runs/verifier

The four shipped models reply to fresh questions; a verifier starts from one of them, reads the request and the reply,
and learns to say whether the reply is right: a number, that it is the answer; quoted facts, that all needed ones are
among them. Replies that hold no number, or quote nothing, are never judged: the pipeline drops them itself.
"""

from __future__ import annotations

import argparse
import multiprocessing
from collections.abc import Iterator
from functools import cache, partial
from pathlib import Path
from random import Random
from typing import NamedTuple

import numpy as np
import torch

from zoo import tokenizer
from zoo.config import CONFIGS, VERDICTS, VERIFIER_MIX, VERIFIER_SIZE, VERIFIER_STEPS, Stage, verifier_config
from zoo.model import Llama
from zoo.pools import TEMPERATURE
from zoo.rows import chat, fresh_question, keep_facts, mixed_rows, packed
from zoo.sampling import sample
from zoo.train import Batch, Trainer, batches, capture, train
from zoo.weights import load_model
from zoo.worldfile import world as w

QUESTIONS: dict[Stage, int] = {"retrieve": 16_000, "answer": 60_000}
"""Fresh questions that every model replies to."""
COPIES = 4
"""Replies of each model to a question; alike ones count once."""
LIMITS: dict[Stage, int] = {"retrieve": w.RETRIEVE_MAX_TOKENS, "answer": w.ANSWER_MAX_TOKENS}


class Asked(NamedTuple):
    """A request and what decides whether a reply to it is right."""

    stage: Stage
    message: str
    facts: list[str]
    needed: frozenset[int]
    answer: int

    def right(self, reply: str) -> bool | None:
        """Whether a reply is right; None when the pipeline would drop it."""
        if self.stage == "answer":
            number = w.parse_answer(reply)
            return None if number is None else number == self.answer
        quoted = w.quoted_facts(reply, self.facts)
        return self.needed <= set(quoted) if quoted else None


def draw_asked(stage: Stage, seed: int, index: int) -> Asked:
    """Draw one request that is none of the evaluation's."""
    rng = Random(f"minihop-verifier:{stage}:{seed}:{index}")
    world, question, needed = fresh_question(rng, standard=0.0)
    kept = keep_facts(rng, world, question, needed) if stage == "answer" else set(range(len(world.facts)))
    shown = [wording for position, wording in enumerate(world.wordings) if position in kept]
    text = w.render_question(question)
    message = w.answer_prompt(shown, text) if stage == "answer" else w.retrieve_prompt(shown, text)
    return Asked(stage, message, shown, frozenset(needed), w.answer_of(world, question))


def replies_of(author: Llama, asked: list[Asked], copies: int, generator: torch.Generator) -> list[list[str]]:
    """Draw an author's replies to requests of one stage."""
    prompts = [tokenizer.chat_ids(each.stage, each.message) for each in asked]
    limit = LIMITS[asked[0].stage]
    rows = sample(author, prompts, copies=copies, limit=limit, temperature=TEMPERATURE, generator=generator)
    return [[tokenizer.decode(ids) for ids in row] for row in rows]


def judged(models: dict[str, Llama], asked: list[Asked], copies: int, seed: int) -> Iterator[tuple[Asked, str]]:
    """Yield the distinct replies of every model, with their requests."""
    generator = torch.Generator(next(iter(models.values())).embed_tokens.weight.device).manual_seed(seed)
    for model in models.values():
        for request, drawn in zip(asked, replies_of(model, asked, copies, generator), strict=True):
            yield from ((request, text) for text in dict.fromkeys(drawn))


def write_lessons(models: dict[str, Llama], out: Path, seed: int, workers: int) -> None:
    """Sample replies to fresh questions and keep each with its verdict on a line, one file a stage."""
    for stage, count in QUESTIONS.items():
        with multiprocessing.get_context("spawn").Pool(workers) as pool:
            asked = pool.map(partial(draw_asked, stage, seed), range(count), chunksize=100)
        lessons = [
            f"{verdict_text(verdict)} {w.verdict_prompt(request.message, reply)}\n"
            for request, reply in judged(models, asked, COPIES, seed)
            if (verdict := request.right(reply)) is not None
        ]
        share = sum(lesson.startswith("yes") for lesson in lessons) / len(lessons)
        print(f"{stage}: {len(lessons)} replies, {share:.2f} right", flush=True)
        lessons_file(out, stage).write_text("".join(lessons))


def lessons_file(out: Path, stage: Stage) -> Path:
    """Where a stage's judged replies are kept."""
    return out / f"{stage}.txt"


@cache
def _lessons(path: Path) -> list[str]:
    return path.read_text().splitlines()


def verdict_text(right: bool) -> str:
    """What the verifier is to reply."""
    return "yes" if right else "no"


def step_batch(out: Path, seed: int, step: int) -> np.ndarray:
    """Draw and pack one step: replies to judge, and some of the rows that the models themselves learnt from."""
    rng = Random(f"minihop-verdicts:{seed}:{step}")
    rows = mixed_rows(f"minihop-verifier-rows:{seed}:{step}", VERIFIER_MIX)
    for stage, count in VERDICTS.items():
        lessons = _lessons(lessons_file(out, stage))
        for _ in range(count):
            verdict, _, text = rng.choice(lessons).partition(" ")
            rows.append(chat("verify", [(text, verdict)]))
    return packed(rows)


def main() -> None:
    """Parse the command line, collect replies and train."""
    parser = argparse.ArgumentParser(description="Train verifiers of minihop's replies.")
    parser.add_argument("--weights", type=Path, required=True, help="folder of the shipped GGUF files")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--sizes", nargs="+", default=[VERIFIER_SIZE], help="shapes to train")
    parser.add_argument("--workers", type=int, default=12)
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.set_float32_matmul_precision("high")
    models = {size: load_model(arguments.weights / f"minihop-{size}.gguf", size, device) for size in CONFIGS}
    write_lessons(models, arguments.out, arguments.seed, arguments.workers)
    batch, fast = Batch(device), device.type == "cuda"
    trainers = {
        size: Trainer(
            verifier_config(size), batch, seed=arguments.seed, compiled=fast, start=models[size].cpu().state_dict()
        )
        for size in arguments.sizes
    }
    draw = partial(step_batch, arguments.out, arguments.seed)
    if fast:
        capture(trainers, batch, draw(0))
    train(trainers, batch, batches(draw, VERIFIER_STEPS, arguments.workers), arguments.out)


if __name__ == "__main__":
    main()
