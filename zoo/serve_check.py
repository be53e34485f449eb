"""Compare the shipped files in llama.cpp with PyTorch: texts, token counts, and how usage counts n > 1.

python -m zoo.serve_check
"""

from __future__ import annotations

import argparse
import json
import os

os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # spinning threads starve everything else on few cores

import torch  # noqa: E402
import xllamacpp as xlc  # noqa: E402

from zoo import tokenizer  # noqa: E402
from zoo.config import CONFIGS  # noqa: E402
from zoo.examples import DEVELOPMENT_SEED, make_examples  # noqa: E402
from zoo.sampling import sample  # noqa: E402
from zoo.weights import load_model  # noqa: E402
from zoo.worldfile import PACKAGE, world  # noqa: E402

SLOTS = 8


def start_server(path: str) -> xlc.Server:
    """Serve one file on a free port."""
    params = xlc.CommonParams()
    params.model.path = path
    params.n_parallel, params.n_ctx = SLOTS, SLOTS * 512
    params.kv_unified = False
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 1
    params.hostnames, params.port, params.verbosity = ["127.0.0.1"], 0, 0
    return xlc.Server(params)


def complete(server: xlc.Server, system: str, user: str, **options: object) -> dict[str, object]:
    """Send one chat request with the zoo's sampling settings."""
    request = {
        "messages": [{"role": "system", "content": system}, {"role": "user", "content": user}],
        "temperature": 0.8, "top_k": 0, "top_p": 1.0, "min_p": 0.0, "max_tokens": world.ANSWER_MAX_TOKENS,
        **options,
    }  # fmt: skip
    reply: dict[str, object] = server.handle_chat_completions(request)
    return reply


def compare(size: str, count: int) -> dict[str, int]:
    """Count greedy replies, prompt lengths and completion lengths that agree on `count` prompts."""
    path = PACKAGE / "weights" / f"{CONFIGS[size].name}.gguf"
    model = load_model(path, size)
    server = start_server(str(path))
    agreed = {"prompts": 0, "texts": 0, "prompt_tokens": 0, "completion_tokens": 0}
    for index, example in enumerate(make_examples(DEVELOPMENT_SEED, count)):
        stage = ("retrieve", "answer")[index % 2]
        user = world.retrieve_prompt(example.facts, example.question)
        ids = tokenizer.chat_ids(stage, user)
        [[ours]] = sample(
            model, [ids], copies=1, limit=world.ANSWER_MAX_TOKENS, temperature=0, generator=torch.Generator()
        )
        reply = complete(server, stage, user, temperature=0)
        usage: dict[str, int] = reply["usage"]  # type: ignore[assignment]
        text = reply["choices"][0]["message"]["content"]  # type: ignore[index]
        agreed["prompts"] += 1
        agreed["texts"] += text == tokenizer.decode(ours)
        agreed["prompt_tokens"] += usage["prompt_tokens"] == len(ids)
        agreed["completion_tokens"] += usage["completion_tokens"] == len(ours)
        if index == 0:
            print(repr(text), repr(tokenizer.decode(ours)), usage, len(ids), len(ours))
    several = complete(server, "retrieve", user, n=SLOTS, seed=3)
    lengths = [len(tokenizer.encode(c["message"]["content"])) + 1 for c in several["choices"]]  # type: ignore[attr-defined]
    print("n =", SLOTS, "usage", several["usage"], "replies' tokens with end token", lengths)
    return agreed


def main() -> None:
    """Check every size."""
    parser = argparse.ArgumentParser(description="Compare llama.cpp with PyTorch.")
    parser.add_argument("--prompts", type=int, default=20)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    for size in CONFIGS:
        print(size, json.dumps(compare(size, arguments.prompts)), flush=True)


if __name__ == "__main__":
    main()
