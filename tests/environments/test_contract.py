"""What every environment promises, kept by ours: live, recorded and synthetic."""

from __future__ import annotations

from agenttts.environments import LiveEnvironment, RecordedEnvironment
from agenttts.environments.synthetic import FAMILIES, SyntheticEnvironment
from agenttts.pipeline import Model, Pipeline, Subtask
from agenttts.pipeline.metrics import equal
from agenttts.protocols import Environment
from agenttts.space import Allocation
from agenttts.testing import EnvironmentSuite, ScriptedClient

_MODELS = (Model("small", 1e6), Model("large", 8e6))


def _pipeline() -> Pipeline:
    return Pipeline("toy", (Subtask("answer", _MODELS, "{{ question }}"),), metric=equal("gold"))


class TestLive(EnvironmentSuite):
    def make(self) -> Environment:
        rows = [{"id": f"e{i}", "question": f"{i}?", "gold": "yes" if i % 3 else "no"} for i in range(9)]
        client = ScriptedClient(lambda model, messages, position: ("yes", "no")[position % 2])
        return LiveEnvironment(_pipeline(), rows[:6], held_out=rows[6:], client=client)

    def allocation(self) -> Allocation:
        return Allocation({"answer": ("small", 3)})


class TestRecorded(EnvironmentSuite):
    def make(self) -> Environment:
        rows = [
            {"answer.model": model, "answer.samples": 1, "example": f"e{i}", "score": i % 2, "held_out": i > 3}
            for model in ("small", "large")
            for i in range(6)
        ]
        return RecordedEnvironment(_pipeline(), rows)

    def allocation(self) -> Allocation:
        return Allocation({"answer": ("small", 1)})


class TestSynthetic(EnvironmentSuite):
    def make(self) -> Environment:
        return SyntheticEnvironment(FAMILIES["table"], seed=1)

    def allocation(self) -> Allocation:
        subtasks = self.make().pipeline.subtasks
        return Allocation({subtask.name: (subtask.models[0].name, subtask.least_samples) for subtask in subtasks})
