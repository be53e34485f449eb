"""The GPUs of this machine, as NVML tells them, or as the user says them."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from agenttts._util.extras import imported
from agenttts._util.hints import program
from agenttts.errors import ConfigError
from agenttts.serving.placement import GIB, Card

_CARDS = re.compile(r"(\d+)x(\d+(?:\.\d+)?)")


def parse_cards(text: str) -> list[Card]:
    """Cards that are only thought of: COUNTxGIB, as in 2x80.

    Raises:
        ConfigError: On anything else.
    """
    match = _CARDS.fullmatch(text.strip())
    if not match or int(match[1]) < 1 or float(match[2]) <= 0:
        raise ConfigError(f"--gpus takes COUNTxGIB, as in 1x80 or 8x24, not {text!r}")
    return [Card(index, float(match[2]), float(match[2])) for index in range(int(match[1]))]


def found_cards(limit: str | None = None) -> list[Card]:
    """The GPUs that this process may use, in the order in which CUDA numbers them.

    Args:
        limit: COUNTxGIB: take only so many, and of each only so much memory.

    Raises:
        ConfigError: When there is none, fewer than that, or NVML is not installed.
    """
    cards = _visible(_all_cards())
    if not cards:
        raise ConfigError("there is no GPU to serve models on: CUDA_VISIBLE_DEVICES hides all there are, unset it")
    if limit is None:
        return cards
    wanted = parse_cards(limit)
    if len(wanted) > len(cards):
        raise ConfigError(f"--gpus {limit} asks for {len(wanted)} GPUs, and this machine has {len(cards)}")
    return [
        replace(card, free_gib=min(card.free_gib, asked.free_gib)) for card, asked in zip(cards, wanted, strict=False)
    ]


def _all_cards() -> list[tuple[str, Card]]:
    """UUID and memory of every NVIDIA GPU."""
    pynvml: Any = imported("pynvml", "finding GPUs needs nvidia-ml-py", extra="vllm")
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError as error:
        raise ConfigError(
            f"there is no NVIDIA GPU to serve models on ({error}): run this where one is, attach servers by "
            f"--endpoint MODEL=URL, or plan for GPUs elsewhere by `{program()} serve ENV --plan --gpus 1x80`"
        ) from error
    try:
        return [_card(pynvml, index) for index in range(pynvml.nvmlDeviceGetCount())]
    finally:
        pynvml.nvmlShutdown()


def _card(pynvml: Any, index: int) -> tuple[str, Card]:
    handle = pynvml.nvmlDeviceGetHandleByIndex(index)
    memory = pynvml.nvmlDeviceGetMemoryInfo(handle)
    uuid = str(pynvml.nvmlDeviceGetUUID(handle))
    return uuid, Card(index, memory.total / GIB, memory.free / GIB)


def _visible(cards: Sequence[tuple[str, Card]]) -> list[Card]:
    """Those that CUDA_VISIBLE_DEVICES leaves, by number or UUID; like CUDA, up to the first that there is not."""
    listed = os.environ.get("CUDA_VISIBLE_DEVICES")
    if listed is None:
        return [card for _, card in cards]
    known = {name: card for uuid, card in cards for name in (str(card.index), uuid)}
    visible: list[Card] = []
    for name in listed.split(","):
        if name.strip() not in known:
            break
        visible.append(known[name.strip()])
    return visible
