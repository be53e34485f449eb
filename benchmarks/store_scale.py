"""A large store: how long it takes to look up, open, resume and propose, and how much memory.

    python benchmarks/store_scale.py --store /tmp/scale.db --output benchmarks/results/store_scale.md
    python benchmarks/store_scale.py --prompts 1000000 --trials 100000 --store /tmp/larger.db       # 10^7 samples

Fills a store with generated samples (no model runs; 10^6 unless said otherwise) and one study of random trials (10^4)
on 20 examples each, a first look of a race, with what each of its three stages used; then measures every row in a
process of its own, so that peak memory is that row's. A store that is there is measured as it is: say what it was
filled with. The search space is that of `own_time.py`. `--propose` lists archive sizes, from which the agent, planned
by rules, proposes once.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import multiprocessing
import os
import platform
import resource
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import numpy as np
from own_time import EXAMPLES, archive, space
from sqlalchemy import insert

import agenttts as at
from agenttts._util.web import WebServer
from agenttts.db import Store
from agenttts.db import _schema as tables
from agenttts.db._spends import charge
from agenttts.llm.samples import Spend
from agenttts.study.evaluation import SubtaskUsage
from agenttts.study.spec import StudySpec
from agenttts.study.transcript import DrawnPrompt, StageTranscript, Transcript
from agenttts.study.trial import AgentStep, Archive, Proposal, Trial
from agenttts.view.application import application
from agenttts.view.background import Background

SAMPLES_EACH = 10
BATCH = 5_000
LOOKUPS = 20_000
TEXT = "The capital of the country that borders the river named in the question, step by step. " * 2
STUDY = "large"


class Scale(NamedTuple):
    """A store, and how much is in it."""

    path: str
    prompts: int
    trials: int


def key(number: int) -> str:
    """As a sample's key: a hash, so that neighbours in time are not neighbours in the index."""
    return hashlib.sha256(str(number).encode()).hexdigest()[:32]


def fill(scale: Scale) -> None:
    """The samples in bulk, the trials as a search records them."""
    store = Store(scale.path)
    study = store.start(STUDY, spec())
    for first in range(0, scale.prompts, BATCH):
        numbers = range(first, min(first + BATCH, scale.prompts))
        with store._engine.begin() as connection:
            connection.execute(insert(tables.prompts), [prompt(number) for number in numbers])
            connection.execute(insert(tables.samples), [row for number in numbers for row in samples(number)])
            connection.execute(insert(tables.purchases), [purchase(study.id, number) for number in numbers])
            charge(connection, study.id, paid(len(numbers)))
    spend = Spend(requests=40, prompt_tokens=8000, completion_tokens=4000, reused_completion_tokens=900, seconds=3.0)
    for trial in archive(space(), scale.trials, ()).trials:
        evaluation = replace(
            trial.evaluation, spend=spend, usage=usage(trial), transcripts=transcripts(trial, scale.prompts)
        )
        proposal = Proposal(trial.allocation, "expected 0.500 ± 0.100 against 0.450 for the best so far")
        store.add_trial(study, proposal, evaluation, cost=trial.cost, searcher="agent", round=trial.round)
        for node in ("reflect", "propose"):
            store.add_step(study, AgentStep(round=trial.round, node=node, planner="rules", text=TEXT, evidence={}))
    store.close()


def prompt(number: int) -> dict[str, Any]:
    """A row of the table of prompts."""
    messages = [{"role": "user", "content": f"Question {number}? {TEXT}"}]
    sampling = {"temperature": 0.9, "max_tokens": 256}
    return {
        "key": key(number), "model": "llama-3b", "namespace": "search", "messages": messages, "sampling": sampling,
        "prompt_tokens": 120,
    }  # fmt: skip


def samples(number: int) -> Iterator[dict[str, Any]]:
    """Rows of the table of samples."""
    for position in range(SAMPLES_EACH):
        yield {"key": key(number), "position": position, "text": f"{position}: {TEXT}", "completion_tokens": 60}


def transcripts(trial: Trial, prompts: int) -> dict[str, Transcript]:
    """What each example of a trial drew: all samples of one prompt at each stage."""
    found = {}
    for place, result in enumerate(trial.evaluation.results):
        first = (trial.number * EXAMPLES + place) * len(trial.allocation)
        keys = {stage: key((first + n) % prompts) for n, stage in enumerate(trial.allocation)}
        stages = tuple(
            StageTranscript(
                stage=stage,
                drawn=(DrawnPrompt(key=each, model="llama-3b", samples=SAMPLES_EACH, values=("42",) * SAMPLES_EACH),),
                output="42",
            )
            for stage, each in keys.items()
        )
        found[result.example] = Transcript(stages=stages, given={"id": result.example, "question": TEXT})
    return found


def usage(trial: Trial) -> dict[str, SubtaskUsage]:
    """What the stages of a trial used, each trial something else."""
    return {
        stage: SubtaskUsage(
            prompt_tokens=1024 + 0.37 * trial.number, completion_tokens=256 + 0.11 * trial.number,
            samples=choice.samples * EXAMPLES, unparsable=trial.number % 7, examples=EXAMPLES,
            prompt_deviation=0.013 * trial.number, completion_deviation=0.017 * trial.number,
        )
        for stage, choice in trial.allocation.items()
    }  # fmt: skip


def purchase(study: int, number: int) -> dict[str, Any]:
    """A row of the ledger."""
    row = {
        "prompt_tokens": 120,
        "completion_tokens": 600,
        "usd": 0.001,
        "created": datetime.fromtimestamp(1.7e9 + number, UTC),
    }
    return {"study_id": study, "model": "llama-3b", "requests": 1, **row}


def paid(purchases: int) -> Spend:
    """What so many rows of the ledger come to."""
    tokens = {"prompt_tokens": 120 * purchases, "completion_tokens": 600 * purchases}
    return Spend(requests=purchases, usd=0.001 * purchases, **tokens)


def spec() -> StudySpec:
    """Of the study."""
    searched = space()
    rows = [{"id": str(number)} for number in range(EXAMPLES)]
    environment = at.LiveEnvironment(searched.pipeline, rows)
    agent = at.searcher("agent", llm="none")
    return at.SearchPlan(environment, agent, searched, "", study_name="s").spec(environment)


def lookup(scale: Scale) -> dict[str, str]:
    """Random draws of all samples of a prompt, and the same once more, when the system has read the file's pages."""
    store, rows = Store(scale.path), {}
    keys = [key(int(number)) for number in np.random.default_rng(1).integers(0, scale.prompts, LOOKUPS)]
    for when in ("", " once more"):
        seconds = []
        for wanted in keys:
            started, computed = time.perf_counter(), time.process_time()
            held = store.samples.read(wanted, SAMPLES_EACH)
            seconds.append((time.perf_counter() - started, time.process_time() - computed))
            assert len(held.samples) == SAMPLES_EACH
        for name, share in (("p50", 0.5), ("p99", 0.99)):
            wall, cpu = np.quantile(seconds, share, axis=0) * 1e3
            rows[f"look-up of 10 samples{when}, {name}"] = f"{wall:.2f} ms; {cpu:.2f} ms of CPU"
    return rows


def resume(scale: Scale) -> dict[str, str]:
    """What `agenttts.search` reads before it goes on, five times: the median."""
    asked = spec()  # what is imported and built for it is no part of resuming
    started = time.perf_counter()
    store = Store(scale.path)
    opened, seconds = time.perf_counter() - started, []
    for _ in range(5):
        started, computed = time.perf_counter(), time.process_time()
        study = store.start(STUDY, asked)
        found, spent, own = store.archive(study), store.spend(study), store.own_spend(study)
        seconds.append((time.perf_counter() - started, time.process_time() - computed))
        assert (len(found.trials), spent.requests, own.requests) == (scale.trials, scale.prompts, 0)
        del found
    wall, cpu = np.median(seconds, axis=0)
    return {"open": f"{opened * 1e3:.0f} ms", "resume (archive and spend)": f"{wall:.2f} s; {cpu:.2f} s of CPU"}


def record(scale: Scale) -> dict[str, str]:
    """What the loop does with the store after a trial: one more is recorded, and those of others are looked for."""
    store, searched = Store(scale.path), space()
    study = store.study(STUDY)
    known = {trial.allocation for trial in archive(searched, scale.trials, ()).trials}
    drawn = dict.fromkeys(searched.sample(np.random.default_rng(7 + store.count_trials(study)), 50))
    evaluation, seconds = archive(searched, 1, ()).trials[0].evaluation, []
    for allocation in [each for each in drawn if each not in known][:20]:
        started = time.perf_counter()
        store.add_trial(study, Proposal(allocation), evaluation, cost=1.0, searcher="agent", round=scale.trials)
        store.count_trials(study)
        seconds.append(time.perf_counter() - started)
    with store._engine.begin() as connection:  # the next row is to find what this one found
        connection.execute(tables.trials.delete().where(tables.trials.c.number > scale.trials))
    return {"record a trial, p50": f"{np.median(seconds) * 1e3:.1f} ms"}


def propose(scale: Scale, count: int) -> dict[str, str]:
    """The agent's next proposal, planned by rules, from the first `count` trials."""
    store = Store(scale.path)
    found = store.archive(store.study(STUDY))
    searched, agent = space(), at.searcher("agent", llm="none")

    def proposed(trials: int) -> int:
        part = Archive(trials=found.trials[:trials], examples=found.examples)
        return len(asyncio.run(agent.propose(part, searched, 1)))

    proposed(20)  # imports what it needs
    started = time.perf_counter()
    assert proposed(count) == 1
    return {f"propose from {count:,} trials": f"{time.perf_counter() - started:.2f} s"}


PAGES = {
    "studies": "/", "a study": "/studies/1", "its best trials": "/studies/1?order=score&page=100&rounds=500",
    "what went wrong": "/studies/1/wrong?page=900", "a trial": "/studies/1/trials/5000",
    "an example": "/studies/1/trials/5000/example?id=7", "two trials": "/compare?a=1:1&b=1:5000",
    "two examples": "/compare?a=1:1&b=1:5000&example=7", "a piece of a search": "/studies/1/search?q=nowhere",
}  # fmt: skip


def view(scale: Scale) -> dict[str, str]:
    """Each page of `agenttts view`, again and again while the study's pictures are drawn in the background."""
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in PAGES}
    with (
        closing(Background()) as background,
        WebServer(application(Store(scale.path), background)) as server,
        httpx.Client(base_url=server.address, timeout=60) as browser,
    ):
        until = time.monotonic() + 60
        while time.monotonic() < until:
            for name, page in PAGES.items():
                started, computed = time.perf_counter(), time.process_time()
                answer = browser.get(page)
                found[name].append((time.perf_counter() - started, time.process_time() - computed))
                assert answer.status_code == 200, answer.text
    rows = {}
    for name, figures in found.items():
        (median, cpu), (longest, _) = np.median(figures, axis=0) * 1e3, np.max(figures, axis=0) * 1e3
        rows[f"view: {name}, p50 and longest"] = f"{median:.0f} and {longest:.0f} ms; {cpu:.0f} ms of CPU"
    return rows


def measured(row: Callable[..., dict[str, str]], *arguments: Any) -> tuple[dict[str, str], float]:
    """What a row measures, and the peak memory of its process in MiB."""
    return row(*arguments), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def alone(row: Callable[..., dict[str, str]], *arguments: Any) -> list[str]:
    """Lines of the table, measured in a new process."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        figures, memory = pool.submit(measured, row, *arguments).result()
    return [f"| {name} | {figure} | {memory:,.0f} MiB |" for name, figure in figures.items()]


def main() -> None:
    """Fill, measure, and write the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--store", default="/tmp/agenttts-scale.db")
    parser.add_argument("--prompts", type=int, default=100_000, help="each with 10 samples")
    parser.add_argument("--trials", type=int, default=10_000)
    parser.add_argument("--propose", default="500,1000,2000,10000")
    parser.add_argument("--output")
    given = parser.parse_args()
    scale = Scale(given.store, given.prompts, given.trials)
    if not Path(given.store).exists():
        fill(scale)
    lines = ["| what | figure | peak memory of the process |", "| --- | --- | --- |"]
    for row in (lookup, resume, record, view):
        lines += alone(row, scale)
    for count in map(int, given.propose.split(",")):
        lines += alone(propose, scale, count)
    size = Path(given.store).stat().st_size / 2**20
    where = f"Python {platform.python_version()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}"
    text = "\n".join(
        [
            f"{scale.prompts * SAMPLES_EACH:,} samples, {scale.trials:,} trials: a file of {size:,.0f} MiB; {where}.",
            "",
            *lines,
        ]
    )
    print(text)
    if given.output:
        Path(given.output).write_text(f"{text}\n")


if __name__ == "__main__":
    main()
