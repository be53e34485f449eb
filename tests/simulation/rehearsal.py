"""Made-up examples of the paper's tasks, and the simulated models' answers to them, asked in process."""

from __future__ import annotations

import csv
import itertools
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from agenttts.environments import LiveEnvironment, environment
from agenttts.simulation import SimulatedClient, Simulation
from agenttts.space.allocation import Allocation
from agenttts.study.evaluation import Evaluation
from tests.environments.tasks.data import OWN

QUESTIONS = 400


def example(task: str, number: int) -> dict[str, Any]:
    """A question with two needed candidates, every fourth with four, among twenty."""
    needed = (2, 5) if number % 4 else (2, 5, 9, 14)
    common = {"question": f"{task}, question {number}?", "answer": [f"answer {number}"]}
    if task in ("cwq", "webqsp"):
        triples = [[f"q{number}", "is.about", f"thing {place}"] for place in range(20)]
        crucial = [triples[place] for place in needed]
        return {**common, "ID": str(number), "crucial_triples": crucial, "2hop_triples": triples}
    chunks = [f"Passage {place} of question {number} tells one thing or another." for place in range(20)]
    return {**common, "answers": common["answer"], "ctxs_candidate": chunks, "ctxs_gt": [chunks[p] for p in needed]}


def questions(task: str, folder: Path) -> Path:
    path = folder / f"{task}.jsonl"
    path.write_text("\n".join(json.dumps(example(task, number)) for number in range(QUESTIONS)))
    return path


def requests(folder: Path) -> Path:
    """300 requests for one to four of twenty tools with two parameters each."""
    tools = [
        {"id": f"tool_{number}", "desc": f"Does thing {number}", "parameters": [{"name": name} for name in "ab"]}
        for number in range(20)
    ]
    for name in ("tool_desc.json", "graph_desc.json"):
        (folder / name).write_text(json.dumps({"nodes": tools}))
    (folder / "data.json").write_text("\n".join(json.dumps(a_request(number)) for number in range(300)))
    return folder


def a_request(number: int) -> dict[str, Any]:
    names = [f"tool_{(number * 7 + place * 3) % 20}" for place in range(1 + number % 4)]
    return {
        "id": str(number),
        "user_request": f"Request {number} wants {len(names)} things done.",
        "task_steps": [f"Step {place}: Call {name}" for place, name in enumerate(names, start=1)],
        "task_nodes": [
            {"task": name, "arguments": [{"name": key, "value": f"{key}{number}{place}"} for key in "ab"]}
            for place, name in enumerate(names)
        ],
        "task_links": [{"source": source, "target": target} for source, target in itertools.pairwise(names)],
    }


def descriptions(folder: Path) -> Path:
    """45 descriptions: each pair of our own ten."""
    with (OWN / "srdd.csv").open(newline="") as file:
        own = [row["Description"] for row in csv.DictReader(file)]
    pairs = [" ".join(pair) for pair in itertools.combinations(own, 2)]
    path = folder / "tasks.json"
    path.write_text(json.dumps({"names": [f"Program {number}" for number in range(len(pairs))], "tasks": pairs}))
    return path


class Rehearsal:
    """One task on made-up examples, asked in process."""

    def __init__(self, task: str, path: Path) -> None:
        found = environment(task, data=str(path))
        assert isinstance(found, LiveEnvironment)
        found.client = SimulatedClient(Simulation(task, str(path)))
        self.environment, self.names = found, (*found.examples, *found.held_out)

    def answer_at(self, temperature: float) -> None:
        """Draw answers at another temperature."""
        retrieve, answer = self.environment.pipeline.subtasks
        answer = replace(answer, sampling=replace(answer.sampling, temperature=temperature))
        self.environment.pipeline = replace(self.environment.pipeline, subtasks=(retrieve, answer))

    async def run(self, *choices: tuple[str, int]) -> Evaluation:
        names = (subtask.name for subtask in self.environment.pipeline.subtasks)
        allocation = Allocation(dict(zip(names, choices, strict=True)))
        return await self.environment.evaluate(allocation, self.names)
