"""Starting and stopping the model servers that a search needs."""

from agenttts.environments.serving.base import Serving
from agenttts.environments.serving.llamacpp import LlamaCppServing
from agenttts.environments.serving.vllm import VllmServing

__all__ = ["LlamaCppServing", "Serving", "VllmServing"]
