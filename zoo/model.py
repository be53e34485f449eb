"""A Llama in plain PyTorch: RMSNorm, rotary positions, SwiGLU, tied embeddings, no biases.

Written for two uses: training on packed sequences under a document mask, and sampling with a key/value cache
(`zoo/sampling.py`). Weights live under Hugging Face's Llama names, so that export is a rename.
"""

from __future__ import annotations

import math
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from zoo.config import NORM_EPSILON, ROPE_THETA, Config

POSITIONAL_SHARPNESS = 3.5
"""How much more a positional head begins by scoring its own offset than the offsets beside it."""


def rotary_tables(length: int, head_width: int) -> tuple[Tensor, Tensor]:
    """Return cosines and sines, length x head_width, of the half-split (Hugging Face) convention."""
    angles = torch.arange(length)[:, None].double() * _frequencies(head_width)[None, :].double()
    doubled = torch.cat([angles, angles], dim=1)
    return doubled.cos().float(), doubled.sin().float()


def _frequencies(head_width: int) -> Tensor:
    return ROPE_THETA ** (-torch.arange(0, head_width, 2).double() / head_width)


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Apply rotary positions to queries or keys (..., positions, head_width)."""
    left, right = x.chunk(2, dim=-1)
    return x * cos + torch.cat([-right, left], dim=-1) * sin


class Norm(nn.Module):
    """RMSNorm computed in float32."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        scaled = x.float() * torch.rsqrt(x.float().pow(2).mean(-1, keepdim=True) + NORM_EPSILON)
        return scaled.type_as(x) * self.weight.type_as(x)


class Attention(nn.Module):
    """Multi-head attention; `head_width` need not be `width / heads`."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.heads, self.head_width = config.heads, config.head_width
        inner = config.heads * config.head_width
        self.q_proj = nn.Linear(config.width, inner, bias=False)
        self.k_proj = nn.Linear(config.width, inner, bias=False)
        self.v_proj = nn.Linear(config.width, inner, bias=False)
        self.o_proj = nn.Linear(inner, config.width, bias=False)

    def project(self, x: Tensor, cos: Tensor, sin: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return rotated queries, rotated keys and values, each batch x heads x positions x head_width."""
        batch, length, _ = x.shape
        q, k, v = (
            projection(x).view(batch, length, self.heads, self.head_width).transpose(1, 2)
            for projection in (self.q_proj, self.k_proj, self.v_proj)
        )
        return rotate(q, cos, sin).type_as(v), rotate(k, cos, sin).type_as(v), v

    def merge(self, mixed: Tensor) -> Tensor:
        """Join the heads and project back."""
        batch, _, length, _ = mixed.shape
        return self.o_proj(mixed.transpose(1, 2).reshape(batch, length, -1))  # type: ignore[no-any-return]


class FeedForward(nn.Module):
    """SwiGLU."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(config.width, config.hidden, bias=False)
        self.up_proj = nn.Linear(config.width, config.hidden, bias=False)
        self.down_proj = nn.Linear(config.hidden, config.width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))  # type: ignore[no-any-return]


class Block(nn.Module):
    """One pre-norm layer."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.input_layernorm = Norm(config.width)
        self.self_attn = Attention(config)
        self.post_attention_layernorm = Norm(config.width)
        self.mlp = FeedForward(config)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor, mask: Tensor) -> Tensor:
        q, k, v = self.self_attn.project(self.input_layernorm(x), cos, sin)
        mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        return self.feed(x + self.self_attn.merge(mixed))

    def feed(self, x: Tensor) -> Tensor:
        """Add the feed-forward block's output."""
        return x + self.mlp(self.post_attention_layernorm(x))  # type: ignore[no-any-return]


class Llama(nn.Module):
    """The whole model, without its loss."""

    def __init__(self, config: Config, vocabulary: int) -> None:
        super().__init__()
        self.config = config
        self.embed_tokens = nn.Embedding(vocabulary, config.width)
        self.layers = nn.ModuleList(Block(config) for _ in range(config.layers))
        self.norm = Norm(config.width)

    def blocks(self) -> list[Block]:
        """Return the layers, typed."""
        return [cast("Block", layer) for layer in self.layers]

    def logits(self, x: Tensor) -> Tensor:
        """Return next-token logits for final hidden states."""
        return F.linear(self.norm(x), self.embed_tokens.weight)

    def forward(self, ids: Tensor, cos: Tensor, sin: Tensor, mask: Tensor) -> Tensor:
        x = self.embed_tokens(ids)
        for layer in self.layers:
            x = layer(x, cos, sin, mask)
        return self.logits(x)

    def parameter_count(self) -> int:
        """Return the number of parameters, the tied embedding counted once."""
        return sum(parameter.numel() for parameter in self.parameters())


# --- initialisation ------------------------------------------------------------------------------------------


def initialise(model: Llama, seed: int) -> None:
    """Draw fresh weights, then give the first layers their positional start."""
    generator = torch.Generator().manual_seed(seed)
    config = model.config
    for name, parameter in model.named_parameters():
        if parameter.dim() < 2:
            continue
        std = 1.0 / math.sqrt(config.width) if "embed" in name else 0.4 / math.sqrt(parameter.shape[1])
        if "o_proj" in name or "down_proj" in name:
            std /= math.sqrt(2 * config.layers)
        with torch.no_grad():
            parameter.normal_(0.0, std, generator=generator)
    positional_start(model)


@torch.no_grad()
def positional_start(model: Llama) -> None:
    """Make the first heads of the first layers begin by looking a fixed number of tokens back.

    Look-up needs every position to know the words just before it. Small models do not find that by themselves in
    a short training, so it is given to them as a start: every embedding gets the same value in coordinate 0, and
    the query and key rows of head h read that coordinate alone (nearly), turned against each other so that the
    rotary score peaks `offset` tokens back. The architecture stays a plain Llama, and training may unlearn it.
    """
    config = model.config
    constant = 0.5
    embedding = model.embed_tokens.weight
    embedding /= embedding.norm(dim=1, keepdim=True)  # unequal lengths would outweigh the offsets' scores
    embedding[:, 0] = constant
    read = constant * math.sqrt(config.width / (1 + constant**2))  # what the layer's norm makes of it
    frequencies = _frequencies(config.head_width)
    planes = len(frequencies) // 4  # the slow planes add score everywhere and hardly tell neighbours apart
    contrast = (1 - frequencies[:planes].cos()).sum().item()
    amplitude = math.sqrt(POSITIONAL_SHARPNESS * math.sqrt(config.head_width) / contrast) / read
    for layer, offsets in zip(model.blocks(), config.offsets, strict=False):
        for head, offset in enumerate(offsets):
            attention = layer.self_attn
            start = head * config.head_width
            rows = slice(start, start + config.head_width)
            for projection in (attention.q_proj, attention.k_proj):
                projection.weight[rows] *= 0.1
                projection.weight[rows, 0] = 0.0
            turn = -offset * frequencies[:planes]
            attention.k_proj.weight[start : start + planes, 0] = amplitude
            attention.q_proj.weight[start : start + planes, 0] = (amplitude * turn.cos()).float()
            second = start + config.head_width // 2
            attention.q_proj.weight[second : second + planes, 0] = (amplitude * turn.sin()).float()
