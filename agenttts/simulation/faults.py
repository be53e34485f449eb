"""What a simulated server does wrong on request."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Literal, get_args

from agenttts.errors import ConfigError

Fault = Literal["rate_limit", "error", "slow", "cut", "garbled"]
_SHARES: tuple[Fault, ...] = get_args(Fault)


@dataclass(frozen=True, kw_only=True)
class Faults:
    """Shares of the requests for completions that go wrong, each from 0 to 1, together at most 1.

    Raises:
        ConfigError: On a share that is none.
    """

    rate_limit: float = 0.0
    """RequestRejected with 429 and a Retry-After."""
    error: float = 0.0
    """Answered 500."""
    slow: float = 0.0
    """Answered after `slow_s`."""
    cut: float = 0.0
    """The connection is cut in the middle of the answer."""
    garbled: float = 0.0
    """Answered with JSON that breaks off."""
    most_n: int | None = None
    """Largest `n` that is not rejected with a 400; 1 is a server that does not know `n`."""
    retry_after_s: float = 1.0
    """Seconds that a rate limit asks to wait."""
    slow_s: float = 5.0
    """Seconds that a slow answer takes longer."""

    def __post_init__(self) -> None:
        for share in _SHARES:
            if not 0 <= getattr(self, share) <= 1:
                raise ConfigError(f"the share of {share!r} faults must be from 0 to 1, not {getattr(self, share)!r}")
        if sum(getattr(self, share) for share in _SHARES) > 1:
            raise ConfigError("the shares of all faults together are over 1")
        if self.most_n is not None and self.most_n < 1:
            raise ConfigError(f"the largest n must be at least 1, not {self.most_n}")

    @classmethod
    def parse(cls, given: Sequence[str], *, most_n: int | None = None) -> Faults:
        """Faults of texts KIND=SHARE.

        Raises:
            ConfigError: On another form, an unknown kind or a share that is none.
        """
        shares: dict[str, float] = {}
        for text in given:
            kind, _, share = text.partition("=")
            try:
                if kind not in _SHARES:
                    raise ValueError(kind)
                shares[kind] = float(share)
            except ValueError as error:
                known = ", ".join(_SHARES)
                raise ConfigError(
                    f"a fault is KIND=SHARE, as in error=0.1, with a kind of {known}, not {text!r}"
                ) from error
        return cls(most_n=most_n, **shares)

    def draw(self, random: Random) -> Fault | None:
        """What the next request suffers; mostly nothing."""
        place = random.random()
        for share in _SHARES:
            place -= getattr(self, share)
            if place < 0:
                return share
        return None
