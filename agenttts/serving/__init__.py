"""Starting and stopping the model servers that a search needs."""

from agenttts.serving.base import Serving
from agenttts.serving.llamacpp import LlamaCppServing
from agenttts.serving.sglang import SglangServing
from agenttts.serving.vllm import VllmServing

__all__ = ["LlamaCppServing", "Serving", "SglangServing", "VllmServing"]
