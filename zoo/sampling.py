"""Sample many replies per prompt with a key/value cache, on whatever device the model is on.

Prompts of about equal length run together, padded on the left (rotary positions are relative, so the padding
only has to be masked). Each prompt is read once and its cache repeated for the samples. Draws are plain softmax
sampling at a temperature: no top-k, no top-p.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from zoo import tokenizer
from zoo.model import Llama, rotary_tables

HIDDEN = -1e9
"""Added to the scores of positions that must not be seen."""
MAX_PARALLEL = 8_192
"""Replies drawn at the same time; bounds the cache (about 25 GB for the largest model)."""


class Cache:
    """Keys and values of every layer, batch x heads x positions x head_width, filled up to `length`."""

    def __init__(self, model: Llama, batch: int, capacity: int, like: Tensor) -> None:
        config = model.config
        shape = (config.layers, 2, batch, config.heads, capacity, config.head_width)
        self.states = like.new_empty(shape, dtype=model.embed_tokens.weight.dtype)
        self.length = 0

    def put(self, layer: int, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Store new positions of one layer; return all positions so far."""
        end = self.length + keys.shape[2]
        self.states[layer, 0, :, :, self.length : end] = keys
        self.states[layer, 1, :, :, self.length : end] = values
        return self.states[layer, 0, :, :, :end], self.states[layer, 1, :, :, :end]

    def repeat_from(self, prompt: Cache, copies: int) -> None:
        """Copy a prompt's cache, each row `copies` times in a row."""
        self.length = prompt.length
        for layer in range(self.states.shape[0]):
            for part in range(2):
                source = prompt.states[layer, part, :, :, : prompt.length]
                self.states[layer, part, :, :, : prompt.length] = source.repeat_interleave(copies, dim=0)

    def keep(self, rows: Tensor) -> None:
        """Drop all other rows of the batch."""
        self.states = self.states[:, :, rows]


def _attend(q: Tensor, keys: Tensor, values: Tensor, mask: Tensor) -> Tensor:
    scores = q @ keys.transpose(-1, -2) / math.sqrt(q.shape[-1])
    return (scores + mask).softmax(-1) @ values


def _advance(model: Llama, ids: Tensor, cache: Cache, tables: tuple[Tensor, Tensor], mask: Tensor) -> Tensor:
    """Read `ids` (batch x new positions) after what the cache holds; return the last position's logits.

    `mask` is added to the scores: batch x 1 x new positions x positions so far.
    """
    span = slice(cache.length, cache.length + ids.shape[1])
    cos, sin = tables[0][span], tables[1][span]
    x = model.embed_tokens(ids)
    for index, layer in enumerate(model.blocks()):
        q, k, v = layer.self_attn.project(layer.input_layernorm(x), cos, sin)
        mixed = _attend(q, *cache.put(index, k, v), mask)
        x = layer.feed(x + layer.self_attn.merge(mixed))
    cache.length = span.stop
    return model.logits(x[:, -1])


def _draw(logits: Tensor, temperature: float, generator: torch.Generator) -> Tensor:
    if temperature == 0:
        return logits.argmax(-1)
    uniform = torch.rand(logits.shape, device=logits.device, generator=generator).clamp_min(1e-20)
    noise = -torch.log((-torch.log(uniform)).clamp_min(1e-20))
    return (logits.float() / temperature + noise).argmax(-1)


@torch.no_grad()
def _sample_group(
    model: Llama,
    prompts: list[list[int]],
    copies: int,
    limit: int,
    temperature: float,
    generator: torch.Generator,
) -> Tensor:
    """Return replies of prompts, (prompts x copies) x up to `limit` ids."""
    device = model.embed_tokens.weight.device
    length = max(map(len, prompts))
    ids = torch.tensor([[tokenizer.PAD] * (length - len(p)) + p for p in prompts], device=device)
    cos, sin = rotary_tables(length + limit, model.config.head_width)
    tables = cos.to(device), sin.to(device)
    hidden = (ids == tokenizer.PAD).float()[:, None, None, :] * HIDDEN
    future = torch.full((length, length), HIDDEN, device=device).triu(1)
    read = Cache(model, len(prompts), length, ids)
    logits = _advance(model, ids, read, tables, hidden + future).repeat_interleave(copies, dim=0)
    cache = Cache(model, len(prompts) * copies, length + limit, ids)
    cache.repeat_from(read, copies)
    mask = F.pad(hidden.repeat_interleave(copies, dim=0), (0, limit))
    replies = torch.full((len(logits), limit), tokenizer.PAD, device=device)
    rows = torch.arange(len(logits), device=device)
    ended = torch.zeros(len(logits), dtype=torch.bool, device=device)
    for position in range(limit):
        token = _draw(logits, temperature, generator)
        replies[rows, position] = token
        ended |= token == tokenizer.END
        if position % 8 == 7:
            going = (~ended).nonzero().squeeze(1)
            if len(going) == 0:
                break
            if len(going) < 0.75 * len(rows):  # stop computing what has ended
                cache.keep(going)
                rows, mask, token, ended = rows[going], mask[going], token[going], ended[going]
        logits = _advance(model, token[:, None], cache, tables, mask[..., : cache.length + 1])
    return replies


def sample(
    model: Llama,
    prompts: Sequence[list[int]],
    *,
    copies: int,
    limit: int,
    temperature: float,
    generator: torch.Generator,
) -> list[list[list[int]]]:
    """Draw `copies` replies per prompt.

    Returns:
        Per prompt, its replies as ids; a finished reply includes the end token, one cut at `limit` has none.
    """
    replies: list[list[list[int]]] = [[] for _ in prompts]
    for group in _groups(prompts, max(1, MAX_PARALLEL // copies)):
        tokens = _sample_group(model, [prompts[i] for i in group], copies, limit, temperature, generator)
        for row, ids in enumerate(tokens.tolist()):
            end = ids.index(tokenizer.END) + 1 if tokenizer.END in ids else len(ids)
            replies[group[row // copies]].append(ids[:end])
    return replies


def _groups(prompts: Sequence[list[int]], size: int) -> Iterator[list[int]]:
    """Yield indices of prompts from short to long, at most `size` together."""
    ordered = sorted(range(len(prompts)), key=lambda index: len(prompts[index]))
    for start in range(0, len(ordered), size):
        yield ordered[start : start + size]
