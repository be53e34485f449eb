"""Environments: they score allocations on examples, live or from recordings."""

from agenttts.environments.client import OpenAIClient
from agenttts.environments.completions import ChatClient, Completions, EmbeddingClient
from agenttts.environments.deployed import DeployedPipeline, PipelineAnswer
from agenttts.environments.examples import load_examples
from agenttts.environments.live import LiveEnvironment
from agenttts.environments.pool import Meter, SamplePool
from agenttts.environments.recorded import RecordedEnvironment
from agenttts.environments.registry import environment, environment_names

__all__ = [
    "ChatClient",
    "Completions",
    "DeployedPipeline",
    "EmbeddingClient",
    "LiveEnvironment",
    "Meter",
    "OpenAIClient",
    "PipelineAnswer",
    "RecordedEnvironment",
    "SamplePool",
    "environment",
    "environment_names",
    "load_examples",
]
