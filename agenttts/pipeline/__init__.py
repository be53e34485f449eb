"""What a user declares: models, subtasks, and the pipeline that joins them. Pure values: nothing here asks a model."""

from agenttts.pipeline.command import Command
from agenttts.pipeline.handles import Aggregator, AsyncMetric, Metric, Parser, StepRun, SubtaskInput
from agenttts.pipeline.model import Example, Message, Model, Sampling
from agenttts.pipeline.operator import Operator, SubtaskRun
from agenttts.pipeline.pipeline import Pipeline
from agenttts.pipeline.subtask import Subtask

__all__ = [
    "Aggregator",
    "AsyncMetric",
    "Command",
    "Example",
    "Message",
    "Metric",
    "Model",
    "Operator",
    "Parser",
    "Pipeline",
    "Sampling",
    "StepRun",
    "Subtask",
    "SubtaskInput",
    "SubtaskRun",
]
