"""What has been paid for so far, and how much may be."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

from agenttts.errors import LimitReached
from agenttts.llm.samples import Spend

_log = logging.getLogger(__name__)
_TOLD = (0.5, 0.8)
"""Shares of a limit."""


class Meter:
    """What has been paid for so far, and how much may be.

    Args:
        max_tokens: Tokens that may be paid for in all.
        max_usd: US dollars that may be spent in all.
        spent: What had been paid for before.
        own: What of it the search method's own LLM took.
    """

    def __init__(
        self,
        max_tokens: int | None = None,
        max_usd: float | None = None,
        spent: Spend | None = None,
        own: Spend | None = None,
    ) -> None:
        self.max_tokens, self.max_usd = max_tokens, max_usd
        self.spent, self.own = spent or Spend(), own or Spend()
        self._under_way = self._usd_under_way = 0.0
        self._settled = asyncio.Condition()

    def check(self) -> None:
        """Stop the next request when a limit is used up.

        Raises:
            LimitReached: When it is.
        """
        if self.max_tokens is not None and self.spent.tokens >= self.max_tokens:
            raise LimitReached(f"reached {self.spent.tokens:,} tokens of at most {self.max_tokens:,} (--max-tokens)")
        if self.max_usd is not None and self.spent.usd >= self.max_usd:
            raise LimitReached(f"reached {self.spent.usd:.4f} USD of at most {self.max_usd:g} (--max-usd)")

    @asynccontextmanager
    async def reserved(self, tokens: int, usd: float = 0.0) -> AsyncIterator[None]:
        """Hold a request until those under way leave enough for it: limits are passed by one request at most.

        Args:
            tokens: Most tokens that it may take.
            usd: Most dollars.

        Raises:
            LimitReached: When a limit is used up.
        """
        if not self.is_limited:
            yield
            return
        async with self._settled:
            await self._settled.wait_for(lambda: not self._under_way or self._would_hold(tokens, usd))
            self.check()
            self._under_way += tokens
            self._usd_under_way += usd
        try:
            yield
        finally:
            async with self._settled:
                self._under_way -= tokens
                self._usd_under_way -= usd
                self._settled.notify_all()

    def _would_hold(self, tokens: int, usd: float) -> bool:
        """Whether the limits would hold even if this and everything under way came out at its longest."""
        tokens_hold = self.max_tokens is None or self.spent.tokens + self._under_way + tokens <= self.max_tokens
        return tokens_hold and (self.max_usd is None or self.spent.usd + self._usd_under_way + usd <= self.max_usd)

    @property
    def is_limited(self) -> bool:
        """Whether there is any limit."""
        return self.max_tokens is not None or self.max_usd is not None

    def hear(self, paid: Spend) -> None:
        """Take in what a store says was paid for, by whomever; what is less than is known here is old news."""
        if paid.tokens > self.spent.tokens or paid.usd > self.spent.usd:
            known = self.spent
            self.spent = replace(
                paid,
                reused_prompt_tokens=known.reused_prompt_tokens,
                reused_completion_tokens=known.reused_completion_tokens,
                seconds=known.seconds,
            )

    def add_own(self, spend: Spend) -> None:
        """Count what the search method's own LLM took."""
        self.own += spend
        self.add(spend)

    def add(self, spend: Spend) -> None:
        """Count what was paid for or reused; half a limit and four fifths of it are told."""
        before, self.spent = self.spent, self.spent + spend
        for share in _TOLD:
            if self.max_tokens is not None and before.tokens < share * self.max_tokens <= self.spent.tokens:
                used = f"{self.spent.tokens:,} of {self.max_tokens:,} tokens (--max-tokens)"
                _log.warning("%.0f %% of a limit are used up: %s", 100 * share, used)
            if self.max_usd is not None and before.usd < share * self.max_usd <= self.spent.usd:
                used = f"{self.spent.usd:.4f} of {self.max_usd:g} USD (--max-usd)"
                _log.warning("%.0f %% of a limit are used up: %s", 100 * share, used)
