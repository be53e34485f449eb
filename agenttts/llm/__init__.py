"""Asking a model: the OpenAI-compatible client, its protocols, and the values it returns. No SQL."""

from agenttts.llm.chat import ChatModel
from agenttts.llm.openai import OpenAIClient
from agenttts.llm.protocols import ChatClient, Completer, EmbeddingClient
from agenttts.llm.samples import Completions, Sample, SampleStore, Spend

__all__ = [
    "ChatClient",
    "ChatModel",
    "Completer",
    "Completions",
    "EmbeddingClient",
    "OpenAIClient",
    "Sample",
    "SampleStore",
    "Spend",
]
