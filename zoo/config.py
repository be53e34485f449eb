"""Sizes of the models, their training settings and the shares of rows."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

Stage = Literal["retrieve", "answer"]

ROPE_THETA = 10_000.0
NORM_EPSILON = 1e-5
CONTEXT = 1_024
"""Context length written in the model files; training sequences are `SEQUENCE` long."""
SEQUENCE = 256
"""Length of a packed training sequence."""
TASKS: tuple[str, ...] = ("retrieve", "answer", "recite", "verify")
"""Kinds of rows; the loss is the sum of each kind's mean over its own supervised tokens."""
TASK_WEIGHTS: tuple[float, ...] = (1.0, 1.0, 0.5, 1.0)


@dataclass(frozen=True, kw_only=True)
class Config:
    """Shape and learning rate of one model."""

    name: str
    width: int
    layers: int
    heads: int
    head_width: int
    hidden: int
    """Width of the feed-forward block."""
    learning_rate: float
    """Peak learning rate."""
    steps: int
    """Length of its training. All models see the same batches; a shorter training sees the first of them."""
    shipped: int
    """Step whose weights ship; before `steps` where the finished model would be too near the next larger one."""
    offsets: tuple[tuple[int, ...], ...]
    """Per layer, how many tokens back its first heads begin by looking (see `model.positional_start`)."""
    task_weights: tuple[float, ...] = TASK_WEIGHTS
    """Weight of each task's loss."""


CONFIGS: dict[str, Config] = {
    "xs": Config(
        name="minihop-xs", width=96, layers=2, heads=4, head_width=32, hidden=192, learning_rate=3e-3,
        steps=7_000, shipped=4_200,
        offsets=((1, 2, 3, 4), (1, 2)),
        # At full weight it found .34 to .41 of all needed sets from step 2,800 on; xs is to be weaker.
        task_weights=(0.03, 1.0, 0.5, 1.0),
    ),
    "s": Config(
        name="minihop-s", width=128, layers=3, heads=4, head_width=32, hidden=320, learning_rate=2.5e-3,
        steps=7_000, shipped=4_900,
        offsets=((1, 2, 3, 4), (1, 2)),
    ),
    "m": Config(
        name="minihop-m", width=192, layers=5, heads=6, head_width=32, hidden=576, learning_rate=2.5e-3,
        steps=7_000, shipped=6_650,
        offsets=((1, 2, 3, 4), (1, 2)),
    ),
    "l": Config(
        name="minihop-l", width=320, layers=6, heads=5, head_width=64, hidden=864, learning_rate=1.8e-3,
        steps=8_000, shipped=8_000,
        offsets=((1, 2, 3, 4), (1, 2)),
    ),
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Mix:
    """How many documents of each kind a training step holds, and how they are drawn."""

    long_lists: int
    """Retrieve rows with lists of 8 to 15 facts."""
    short_lists: int
    """Retrieve rows with lists of 2 to 7 facts."""
    answers: int
    recitals: int
    standard: float
    """Share of facts forced into standard wording."""
    longest_recital: int
    """Recitals hold 3 facts up to this many."""


WARM_UP_MIX = Mix(long_lists=0, short_lists=100, answers=110, recitals=150, standard=1.0, longest_recital=8)
"""First `WARM_UP_STEPS` steps: short lists in standard wording, where look-up is quickest to learn."""
MAIN_MIX = Mix(long_lists=80, short_lists=40, answers=150, recitals=44, standard=0.0, longest_recital=12)
WARM_UP_STEPS = 400
SEQUENCES = 160
"""Packed sequences per training step."""
MIXES: tuple[Mix, Mix] = (WARM_UP_MIX, MAIN_MIX)

VERIFIER_SIZE = "m"
"""Shape of the verifier that ships, and the weights that it starts from; smaller ones did not learn to check."""
VERIFIER_STEPS = 12_000
VERIFIER_MIX = Mix(long_lists=6, short_lists=6, answers=40, recitals=10, standard=0.0, longest_recital=12)
"""What a verifier's steps hold beside the replies that it judges: it is not to forget how to read."""
VERDICTS: dict[Stage, int] = {"answer": 220, "retrieve": 70}
"""Replies to judge in one step of a verifier's training."""


def verifier_config(size: str) -> Config:
    """Return the settings of a verifier of a size's shape."""
    return replace(
        CONFIGS[size],
        name="minihop-verifier",
        learning_rate=0.5 * CONFIGS[size].learning_rate,
        steps=VERIFIER_STEPS,
        shipped=VERIFIER_STEPS,
        task_weights=(0.1, 0.3, 0.1, 1.0),
    )
