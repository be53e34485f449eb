"""Numbers as a person reads them: the one place that formats them."""

from __future__ import annotations

from agenttts._util.stats import Interval


def interval(bounds: Interval) -> str:
    """An interval of scores: 0.512 to 0.634."""
    return f"{bounds.low:.3f} to {bounds.high:.3f}"


def duration(seconds: float) -> str:
    """Seconds in the unit that a person would use."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60} h {minutes % 60} min"


def amount(value: float) -> str:
    """A cost or a budget in four digits, never in powers of ten: 695.7, 260,400,000."""
    return f"{value:.4g}" if abs(value) < 1e4 else f"{float(f'{value:.4g}'):,.0f}"


def counted(count: int, noun: str) -> str:
    """A number of things: 1 trial, 2 trials."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def compact(count: float) -> str:
    """A large number in five characters or so: 331k, 1.23M."""
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if count >= size:
            return f"{count / size:.3g}{letter}"
    return f"{count:.0f}"
