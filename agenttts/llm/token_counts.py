"""Tokens of prompts and completions: as the server tells them where that can be, else counted by length.

A server's usage is believed where it lies between what the texts need at least and what the request allows at most.
Anything else (absent, negative, NaN, a text, more than `max_tokens`, 4,300 digits) would lose a limit its meaning.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from agenttts.errors import EndpointError
from agenttts.llm.endpoint import server_url

if TYPE_CHECKING:
    from agenttts.llm.asking import Asker

_TOKENIZER_TIMEOUT_S = 10.0
_LIMITS = ("max_tokens", "max_completion_tokens")
UNLIMITED = 2**17
"""Most tokens of a sample of a model whose requests have no limit: as many as models write at once."""
_CHARACTERS_PER_TOKEN = 3
_LONGEST_TOKEN = 128
"""Characters; the longest ones are runs of blanks."""
_FRAME, _MESSAGE_FRAME = 256, 64
"""Most tokens that a server puts around a prompt, and around each of its messages."""
_IMAGE, _MOST_OF_AN_IMAGE = 1024, 2**16
"""Tokens of an image, about and at most: what it is billed at depends on its size and on the model."""


def whole_prompt(messages: Sequence[Mapping[str, Any]], extra: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    """The messages, and the tools that are offered as one more: they are billed as prompt."""
    return [*messages, {"content": json.dumps(extra["tools"], default=str)}] if extra.get("tools") else messages


def most_prompt_tokens(messages: Sequence[Mapping[str, Any]]) -> int:
    """Most tokens that a prompt can have: one for each byte, and what a server puts around it."""
    most = (_MESSAGE_FRAME + _bytes(message) + _images(message) * _MOST_OF_AN_IMAGE for message in messages)
    return _FRAME + sum(most)


def most_tokens(max_tokens: int | None, extra: Mapping[str, Any]) -> int:
    """Most tokens that one sample may have, where the request's further fields change the limit, too."""
    limits = [max_tokens, *(extra[name] for name in _LIMITS if name in extra)]
    if "max_tokens" in extra:
        limits[0] = None  # it replaces the sampling's
    return max((limit for limit in limits if type(limit) is int), default=UNLIMITED)


def most_completion_tokens(max_tokens: int, choices: int) -> int:
    """Most tokens that choices can have; some servers count the end of each as one more."""
    return choices * (max_tokens + 1)


def told_prompt_tokens(usage: Any, messages: Sequence[Mapping[str, Any]]) -> int | None:
    """Prompt tokens as a server tells them; None where that cannot be."""
    return _between(_entry(usage, "prompt_tokens"), 1, most_prompt_tokens(messages))


def told_completion_tokens(usage: Any, texts: Sequence[str], max_tokens: int) -> int | None:
    """Completion tokens of all choices as a server bills them, those of reasoning included; None where that cannot be.

    Some servers tell reasoning apart, and count it only in the total; some do not bound it by `max_tokens`.
    """
    characters = sum(map(len, texts))
    least = max(characters // _LONGEST_TOKEN, 1 if characters else 0)
    reasoning = told_reasoning_tokens(usage, len(texts))
    counts = [_entry(usage, name) for name in ("total_tokens", "prompt_tokens", "completion_tokens")]
    if not all(type(count) is int for count in counts):
        return _between(counts[2], least, most_completion_tokens(max_tokens, len(texts)) + reasoning)
    total, prompt, completion = counts
    beside = _between(total - prompt - completion, 0, UNLIMITED * len(texts)) or 0
    most = most_completion_tokens(max_tokens, len(texts)) + max(reasoning, beside)
    return _between(completion + beside, least, most)


def told_reasoning_tokens(usage: Any, choices: int) -> int:
    """Completion tokens that were spent on reasoning, as a server tells; 0 where it does not."""
    return _between(_detail(usage, "completion_tokens_details", "reasoning_tokens"), 0, UNLIMITED * choices) or 0


def told_cached_tokens(usage: Any, prompt_tokens: int) -> int:
    """Prompt tokens that the server had in its cache, as it tells; 0 where it does not."""
    return _between(_detail(usage, "prompt_tokens_details", "cached_tokens"), 0, prompt_tokens) or 0


def _detail(usage: Any, details: str, name: str) -> Any:
    return _entry(_entry(usage, details), name)


def _entry(usage: Any, name: str) -> Any:
    return usage.get(name) if isinstance(usage, Mapping) else None


def _between(count: Any, least: int, most: int) -> int | None:
    return count if type(count) is int and least <= count <= most else None


def prompt_tokens_by_length(messages: Sequence[Mapping[str, Any]]) -> int:
    """About how many tokens a prompt has."""
    return max(sum(map(_bytes, messages)) // _CHARACTERS_PER_TOKEN + image_tokens(messages), 1)


def image_tokens(messages: Sequence[Mapping[str, Any]]) -> int:
    """About how many tokens the images of a prompt have."""
    return sum(map(_images, messages)) * _IMAGE


def completion_tokens_by_length(text: str, max_tokens: int, *, cut: bool) -> int:
    """About how many tokens a completion has; exactly, where it was cut off at its limit."""
    return max_tokens if cut else min(math.ceil(len(text) / _CHARACTERS_PER_TOKEN), max_tokens)


def _bytes(message: Mapping[str, Any]) -> int:
    """Of the texts of a message, and of its calls of tools."""
    content, calls = message.get("content") or "", message.get("tool_calls")
    texts = [part.get("text", "") for part in _parts(message)] if isinstance(content, list) else [content]
    return sum(len(str(text).encode("utf-8", "replace")) for text in [*texts, *([calls] if calls else [])])


def _images(message: Mapping[str, Any]) -> int:
    """How many parts of a message are no text."""
    return sum("text" not in part for part in _parts(message))


def _parts(message: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    content = message.get("content")
    return [part for part in content if isinstance(part, Mapping)] if isinstance(content, list) else []


async def tokens_by_llama_cpp(
    asker: Asker, who: str, texts: Sequence[str], stopped: Sequence[bool]
) -> list[int] | None:
    """Completion tokens per choice by llama.cpp's own tokenizer, a natural end being one more; None if it fails.

    One call counts them all, token 0 standing between the texts; where a text holds that token itself, the
    numbers do not add up.
    """
    parts: list[str | int] = [part for text in texts for part in (text, 0)]
    url = server_url(asker.url) + "/tokenize"
    try:
        reply = json.loads(await asker.fetch(who, url, timeout_s=_TOKENIZER_TIMEOUT_S, body={"content": parts}))
        tokens = [int(token) for token in reply["tokens"]]
    except (EndpointError, KeyError, TypeError, ValueError):
        return None
    ends = [place for place, token in enumerate(tokens) if token == 0]
    if len(ends) != len(texts):
        return None
    lengths = [end - start - 1 for start, end in zip([-1, *ends], ends, strict=False)]
    return [length + end for length, end in zip(lengths, stopped, strict=True)]


async def tokens_by_server(asker: Asker, who: str, model: str, texts: Sequence[str]) -> list[int] | None:
    """Tokens of each text by the tokenizer of a server that has one; None where it fails.

    vLLM reads `prompt`, llama.cpp `content`, TGI `inputs`; each passes over the others' names.
    """
    url, counts = server_url(asker.url) + "/tokenize", []
    for text in texts:
        body = {"model": model, "prompt": text, "content": text, "inputs": text}
        try:
            reply = json.loads(await asker.fetch(who, url, timeout_s=_TOKENIZER_TIMEOUT_S, body=body))
            counts.append(len(reply if isinstance(reply, list) else reply["tokens"]))
        except (EndpointError, KeyError, TypeError, ValueError):
            return None
    return counts


def tokens_by_length(total: int, texts: Sequence[str]) -> list[int]:
    """Split the tokens of several choices in proportion to their lengths; the sum stays exact."""
    weights = [len(text) + 1 for text in texts]
    edges = [round(total * sum(weights[:i]) / sum(weights)) for i in range(len(weights) + 1)]
    return [after - before for before, after in zip(edges, edges[1:], strict=False)]
