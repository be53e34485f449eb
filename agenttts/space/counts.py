"""How many samples a subtask may have: those it takes, and those that make sense with an operator."""

from __future__ import annotations

from agenttts.pipeline import Subtask
from agenttts.pipeline.pairing import Pairing

MOST_SAMPLES = 1_000_000
"""Samples that a subtask without a bound of its own may have."""


def bound(subtask: Subtask) -> int | None:
    """The largest number of samples that a subtask takes."""
    return subtask.sample_counts[-1] if subtask.sample_counts else subtask.max_samples


def most_of(subtask: Subtask) -> int:
    """The largest number of samples that a subtask may have: its own bound, or else that of every subtask."""
    return bound(subtask) or MOST_SAMPLES


def least_of(subtask: Subtask, pairing: Pairing) -> int:
    """The smallest number of samples that the subtask takes with this pairing; 0 where it takes none."""
    if subtask.sample_counts is not None:
        return next((count for count in subtask.sample_counts if count >= pairing.least_samples), 0)
    return pairing.least_samples if pairing.least_samples <= most_of(subtask) else 0


def samples_in_words(subtask: Subtask) -> str:
    """The numbers of samples that a subtask takes, as in "1, 4 or 16 samples" or "at most 100 samples"."""
    if subtask.sample_counts is None:
        return "any number of samples" if subtask.max_samples is None else f"at most {subtask.max_samples} samples"
    *others, last = map(str, subtask.sample_counts)
    listed = f"{', '.join(others)} or {last}" if others else last
    return f"{listed} sample{'s' * (listed != '1')}"


def next_counts(subtask: Subtask, samples: int) -> set[int]:
    """Numbers of samples one step from this one; 0 where there is none."""
    if subtask.sample_counts is None:
        return {samples + 1, samples - 1, samples * 2, samples // 2}
    above = min((count for count in subtask.sample_counts if count > samples), default=samples)
    return {subtask.samples_up_to(count) for count in (above, samples - 1, samples * 2, samples // 2)}
