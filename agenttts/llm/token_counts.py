"""Completion tokens of each of several choices, where a server tells one number only."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from openai import AsyncOpenAI


async def tokens_by_llama_cpp(
    client: AsyncOpenAI, url: str, texts: Sequence[str], stopped: Sequence[bool]
) -> list[int] | None:
    """Completion tokens per choice by llama.cpp's own tokenizer, a natural end being one more; None if it fails.

    One call counts them all, token 0 standing between the texts; where a text holds that token itself, the
    numbers do not add up.
    """
    from openai import OpenAIError

    parts: list[str | int] = [part for text in texts for part in (text, 0)]
    tokenizer = url.removesuffix("/").removesuffix("/v1") + "/tokenize"
    try:
        reply: Any = await client.post(tokenizer, cast_to=object, body={"content": parts})
        tokens = [int(token) for token in reply["tokens"]]
    except (OpenAIError, KeyError, TypeError, ValueError):
        return None
    ends = [place for place, token in enumerate(tokens) if token == 0]
    if len(ends) != len(texts):
        return None
    lengths = [end - start - 1 for start, end in zip([-1, *ends], ends, strict=False)]
    return [length + end for length, end in zip(lengths, stopped, strict=True)]


def tokens_by_length(total: int, texts: Sequence[str]) -> list[int]:
    """Split the tokens of several choices in proportion to their lengths; the sum stays exact."""
    weights = [len(text) + 1 for text in texts]
    edges = [round(total * sum(weights[:i]) / sum(weights)) for i in range(len(weights) + 1)]
    return [after - before for before, after in zip(edges, edges[1:], strict=False)]
