"""Check verifiers on fresh questions, and record the shipped one's verdicts on the replies of the pools.

    python -m zoo.verdicts check runs/verifier/m-12000.pt
    python -m zoo.verdicts record --verifier FILE --out agenttts/environments/tasks/minihop/verdicts.jsonl.xz

`check` tells, per author of eight replies: how many are right, how many verdicts are, how often the verifier prefers a
right reply to a wrong one (the area under the ROC curve), and how often the vote, the verifier's favourite and the best
of the eight are right. `record` draws verdicts on the first reply of each number, which is what operators ask about.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from pathlib import Path

import numpy as np
import torch

from zoo import tokenizer
from zoo.config import CONFIGS, VERDICTS, VERIFIER_SIZE, Stage, verifier_config
from zoo.examples import evaluation_examples
from zoo.model import Llama
from zoo.pools import Line, compress, drawn, example_number, pool_line, read_lines
from zoo.sampling import sample
from zoo.verifier import Asked, draw_asked, replies_of
from zoo.weights import load_model
from zoo.worldfile import PACKAGE, world

CHECK_SEED = 1_000
"""Seed of the questions of `check`, which training never sees."""
QUESTIONS = 1_000
REPLIES = 8
RECORDED = 4
"""Verdicts recorded on a reply."""
TEMPERATURE = 1.0
LIMIT = 8


def draw_verdicts(verifier: Llama, asked: list[tuple[str, str]], copies: int, seed: int) -> list[list[list[int]]]:
    """Draw verdicts, as ids, on (user message, reply)."""
    generator = torch.Generator(verifier.embed_tokens.weight.device).manual_seed(seed)
    return sample(verifier, _prompts(asked), copies=copies, limit=LIMIT, temperature=TEMPERATURE, generator=generator)


def _prompts(asked: list[tuple[str, str]]) -> list[list[int]]:
    return [tokenizer.chat_ids("verify", world.verdict_prompt(message, reply)) for message, reply in asked]


# --- check ---------------------------------------------------------------------------------------------------


def trust(verifier: Llama, asked: list[Asked], replies: list[list[str]]) -> list[dict[str, float]]:
    """Return, per request, the share of 16 verdicts that say yes to each distinct reply that counts."""
    pairs = [
        (position, text)
        for position, (request, texts) in enumerate(zip(asked, replies, strict=True))
        for text in dict.fromkeys(texts)
        if request.right(text) is not None
    ]
    said = draw_verdicts(verifier, [(asked[position].message, text) for position, text in pairs], 16, CHECK_SEED)
    trusted: list[dict[str, float]] = [{} for _ in asked]
    for (position, text), verdicts in zip(pairs, said, strict=True):
        trusted[position][text] = float(np.mean([tokenizer.decode(ids).strip() == "yes" for ids in verdicts]))
    return trusted


def scores(asked: list[Asked], replies: list[list[str]], trusted: list[dict[str, float]]) -> dict[str, float]:
    """Return what `check` prints for one author."""
    right, liked, vote, best, possible = [], [], 0, 0, 0
    for request, texts, trust_in in zip(asked, replies, trusted, strict=True):
        judged = [text for text in texts if text in trust_in]
        right += [bool(request.right(text)) for text in judged]
        liked += [trust_in[text] for text in judged]
        if not judged:
            continue
        vote += bool(request.right(_majority(request, judged)))
        best += bool(request.right(max(judged, key=trust_in.__getitem__)))
        possible += any(request.right(text) for text in judged)
    truth, belief = np.array(right), np.array(liked)
    return {
        "right": float(truth.mean()),
        "verdicts": float(((belief > 0.5) == truth).mean()),
        "auc": _auc(belief, truth),
        "vote": vote / len(asked),
        "favourite": best / len(asked),
        "any": possible / len(asked),
    }


def _majority(request: Asked, texts: list[str]) -> str:
    values = [
        world.parse_answer(text) if request.stage == "answer" else frozenset(world.quoted_facts(text, request.facts))
        for text in texts
    ]
    return texts[values.index(Counter(values).most_common(1)[0][0])]


def _auc(belief: np.ndarray, truth: np.ndarray) -> float:
    yes, no = belief[truth], belief[~truth]
    return float((yes[:, None] > no[None, :]).mean() + 0.5 * (yes[:, None] == no[None, :]).mean())


def check(files: list[Path], weights: Path, device: torch.device) -> dict[str, dict[str, float]]:
    """Print and return how well verifiers do, by verifier, stage and author."""
    table = {}
    authors = {size: load_model(weights / f"minihop-{size}.gguf", size, device) for size in CONFIGS}
    stages: list[Stage] = list(VERDICTS)
    for stage in stages:
        asked = [draw_asked(stage, CHECK_SEED, index) for index in range(QUESTIONS)]
        replies = {}
        for size, author in authors.items():
            generator = torch.Generator(device).manual_seed(CHECK_SEED)
            replies[size] = replies_of(author, asked, REPLIES, generator)
        for path in files:
            verifier = load_model(path, path.stem.split("-")[0], device)
            for size, texts in replies.items():
                found = table[f"{path.stem} {stage} {size}"] = scores(asked, texts, trust(verifier, asked, texts))
                figures = " ".join(f"{name}={value:.3f}" for name, value in found.items())
                print(f"{path.stem} {stage} by {size}: {figures}", flush=True)
    return table


# --- record --------------------------------------------------------------------------------------------------


def record(verifier: Llama, name: str, pools: Path, out: Path, seed: int) -> None:
    """Draw verdicts on what operators may ask about, and write them."""
    examples = evaluation_examples()
    asked: dict[tuple[str, str], Line] = {}
    for line in read_lines(pools):
        if line["stage"] == "answer":
            example = examples[example_number(line)]
            message = world.answer_prompt([example.facts[index] for index in line["facts"]], example.question)
            for text in first_of_each_number(line):
                asked.setdefault((message, text), {"stage": "verify", **_judged(line, text)})
    verdicts = draw_verdicts(verifier, list(asked), RECORDED, seed)
    rows = zip(asked.values(), _prompts(list(asked)), verdicts, strict=True)
    out.write_bytes(compress([pool_line(key, name, prompt, said) for key, prompt, said in rows], preset=9))
    print(f"{len(asked)} replies judged, {out.stat().st_size} bytes", flush=True)


def first_of_each_number(line: Line) -> list[str]:
    """Return the first reply of each number, in draw order."""
    first: dict[int, str] = {}
    for text in drawn(line, line["texts"]):
        if (number := world.parse_answer(text)) is not None:
            first.setdefault(number, text)
    return list(first.values())


def _judged(line: Line, text: str) -> Line:
    return {
        "example": line["example"],
        "facts": line["facts"],
        "author": line["model"],
        "reply": line["texts"].index(text),
    }


def main() -> None:
    """Parse the command line; check or record."""
    parser = argparse.ArgumentParser(description="Check verifiers of minihop's replies, and record verdicts.")
    commands = parser.add_subparsers(dest="command", required=True)
    checked = commands.add_parser("check")
    checked.add_argument("files", nargs="+", type=Path, help="checkpoints, named SIZE-STEP.pt")
    checked.add_argument("--weights", type=Path, default=PACKAGE / "weights")
    checked.add_argument("--json", type=Path, help="also write the figures here")
    recorded = commands.add_parser("record")
    recorded.add_argument("--verifier", type=Path, default=PACKAGE / "weights/minihop-verifier.gguf")
    recorded.add_argument("--pools", type=Path, default=PACKAGE / "pools.jsonl.xz")
    recorded.add_argument("--out", type=Path, required=True)
    recorded.add_argument("--seed", type=int, default=7)
    arguments = parser.parse_args()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.set_float32_matmul_precision("high")
    if arguments.command == "check":
        table = check(arguments.files, arguments.weights, device)
        if arguments.json:
            arguments.json.write_text(json.dumps(table, indent=1) + "\n")
    else:
        verifier = load_model(arguments.verifier, VERIFIER_SIZE, device)
        record(verifier, verifier_config(VERIFIER_SIZE).name, arguments.pools, arguments.out, arguments.seed)


if __name__ == "__main__":
    main()
