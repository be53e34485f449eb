"""95 % confidence intervals."""

from __future__ import annotations

import math
from typing import NamedTuple

Z95 = 1.959963984540054
"""97.5 % quantile of the normal distribution."""
# 97.5 % quantiles of Student's t for 1, 2, ... degrees of freedom.
_T95 = (
    12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228,
    2.201, 2.179, 2.160, 2.145, 2.131, 2.120, 2.110, 2.101, 2.093, 2.086,
    2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042,
)  # fmt: skip


class Interval(NamedTuple):
    """A 95 % confidence interval."""

    low: float
    high: float


def wilson_interval(mean: float, count: int) -> Interval:
    """95 % Wilson score interval of a mean of `count` scores in [0, 1].

    A score in [0, 1] has at most a coin's variance, mean * (1 - mean), so the binomial interval is conservative.
    """
    z2 = Z95**2
    centre = (mean + z2 / (2 * count)) / (1 + z2 / count)
    half = Z95 * math.sqrt(mean * (1 - mean) / count + z2 / (4 * count**2)) / (1 + z2 / count)
    return Interval(max(0.0, min(centre - half, mean)), min(1.0, max(centre + half, mean)))


def student_quantile(freedom: int) -> float:
    """97.5 % quantile of Student's t: half a 95 % interval, in standard errors.

    Args:
        freedom: Degrees of freedom, at least 1.
    """
    if freedom <= len(_T95):
        return _T95[freedom - 1]
    # The first term of its expansion around the normal quantile: beyond the table, too low by 0.003 at most.
    return Z95 + (Z95**3 + Z95) / (4 * freedom)
