"""Numbers as a person reads them: the one place that formats them."""

from __future__ import annotations

import math
import re
from decimal import Decimal
from typing import NamedTuple

from agenttts._util.stats import Interval

_PREFIXES = ("n", "µ", "m", "", "k", "M", "G", "T", "P", "E", "Z", "Y")
_UNIT = re.compile(r"(?P<kind>e|GPU )?(?P<prefix>[nµmkMGTPEZY]?)(?P<base>FLOP|s)")
_AMOUNT = re.compile(r"(?P<number>[-+]?[\d_.]+(?:e[-+]?\d+)?)\s*(?P<unit>[^\d\s].*)?", re.IGNORECASE)


class Scale(NamedTuple):
    """The one scale in which the costs of a search are shown: 2.8 PFLOP, $0.42 per 1,000 queries.

    Examples:
        >>> from agenttts._util.numbers import scale
        >>> scale("MFLOP", 2.8e9).rate(2.44736e8)
        '0.2447 PFLOP per query'
        >>> scale("USD", 0.001).rate(0.00042)
        '$0.42 per 1,000 queries'
    """

    factor: float
    """What a cost in the cost model's unit is multiplied by."""
    unit: str
    """Heads a column of such costs."""
    query: str
    """What follows an amount that is told to be one query's."""

    def number(self, cost: float) -> str:
        """The figure alone, for a column that names the unit."""
        return amount(cost * self.factor)

    def show(self, cost: float) -> str:
        """The figure and its unit."""
        number = self.number(cost)
        return f"${number}{self.query}" if self.unit.startswith("USD") else f"{number} {self.unit}"

    def of(self, cost: float, budget: float) -> str:
        """The cost of a query beside its budget: 695.7 of 700 MFLOP per query."""
        dollar = "$" if self.unit.startswith("USD") else ""
        return f"{dollar}{self.number(cost)} of {self.rate(budget)}"

    def rate(self, cost: float) -> str:
        """The same, told to be the cost of a query."""
        return self.show(cost) if self.unit.startswith("USD") else f"{self.show(cost)}{self.query}"


def scale(unit: str, largest: float) -> Scale:
    """The scale that suits costs up to the largest, which is then between 1 and 1,000 where the unit has prefixes."""
    if unit == "USD":
        return Scale(1000.0, "USD per 1,000 queries", " per 1,000 queries")
    found = _UNIT.fullmatch(unit)
    if found is None or not largest > 0:
        return Scale(1.0, unit, " per query")
    place = _PREFIXES.index(found["prefix"])
    most = _PREFIXES.index("") if found["base"] == "s" else len(_PREFIXES) - 1
    least = 0 if found["base"] == "s" else _PREFIXES.index("")
    steps = math.floor(math.log10(largest * (1 + 1e-9)) / 3)
    chosen = min(max(place + steps, least), most)
    named = f"{found['kind'] or ''}{_PREFIXES[chosen]}{found['base']}"
    return Scale(1000.0 ** (place - chosen), named, " per query")


def parse_amount(text: str, unit: str) -> float:
    """An amount of a unit as a person writes it: a plain number is in the unit itself.

    Examples:
        >>> from agenttts._util.numbers import parse_amount
        >>> parse_amount("2.8 PFLOP", "MFLOP")
        2800000000.0

    Raises:
        ValueError: When it is no number, or in another unit.
    """
    found = _AMOUNT.fullmatch(text.strip())
    if found is None:
        raise ValueError(f"{text!r} is no amount of {unit}")
    number = float(found["number"])
    given, asked = found["unit"], _UNIT.fullmatch(unit)
    if given is None or given == unit:
        return number
    read = _UNIT.fullmatch(given)
    if asked is None or read is None or (read["kind"], read["base"]) != (asked["kind"], asked["base"]):
        raise ValueError(f"{text!r} is no amount of {unit}")
    return number * 1000.0 ** (_PREFIXES.index(read["prefix"]) - _PREFIXES.index(asked["prefix"]))


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
    rounded = float(f"{value:.4g}")
    if abs(rounded) >= 1e4:
        return f"{rounded:,.0f}"
    return f"{rounded:.4g}" if abs(rounded) >= 1e-4 or not rounded else f"{rounded:.12f}".rstrip("0")


def plain(value: float) -> str:
    """Six digits without a power of ten, as a shell or a name takes it: 700, 100000000, 0.00042."""
    rounded = float(f"{value:.6g}")
    return format(Decimal(repr(rounded)).normalize(), "f")


def as_budget(cost: float, unit: str) -> str:
    """A budget that this cost fits, as `--budget` takes it: rounded up to four digits.

    Examples:
        >>> from agenttts._util.numbers import as_budget
        >>> as_budget(2.44736e8, "MFLOP"), as_budget(0.000420042, "USD")
        ('244.8TFLOP', '0.0004201')
    """
    found = scale(unit, cost)
    shown, factor = (found.unit, found.factor) if unit.endswith("FLOP") else ("", 1.0)
    digits = 3 - math.floor(math.log10(abs(cost * factor))) if cost else 0
    return plain(math.ceil(round(cost * factor * 10.0**digits, 6)) / 10.0**digits) + shown


def counted(count: int, noun: str) -> str:
    """A number of things: 1 trial, 2 trials."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def compact(count: float) -> str:
    """A large number in five characters or so: 331k, 1.23M."""
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if count >= size:
            return f"{count / size:.3g}{letter}"
    return f"{count:.0f}"


def percent(share: float) -> str:
    """A share in percent."""
    return f"{100 * share:.0f} %"


def chance(probability: float) -> str:
    """A probability in percent, which is never told as a certainty."""
    return "over 99 %" if probability > 0.99 else percent(probability)
