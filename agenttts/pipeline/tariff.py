"""What a provider charges for tokens: as the user declares it on the model, else as the package genai-prices lists it.

The list is asked by the model's endpoint and served name, so that a model of one's own that happens to be called like
somebody's is not taken for it. Reasoning is billed as completion tokens. Batch rates are not used: requests are sent
one by one; `service_tier` in `Model.request` has the rates of that tier.
"""

from __future__ import annotations

import os
from functools import cache
from importlib.metadata import version
from typing import Any, NamedTuple

from agenttts._util.extras import installed
from agenttts._util.hints import install
from agenttts.errors import ConfigError
from agenttts.pipeline.model import Model

_DEFAULT_URL = "https://api.openai.com/v1"
_LOCAL = ("http://localhost", "http://127.", "http://0.0.0.0", "http://[::1]")
_MILLION = 1e6
_SOME = 1000
"""Tokens that a price is asked for: below every tier that long prompts have."""


class Tariff(NamedTuple):
    """US dollars per million tokens of one model."""

    prompt: float
    completion: float
    cached: float
    """Of prompt tokens that the provider had in its cache."""
    source: str = ""
    """The list that it is from, and its date; empty where the user declared it."""

    def usd(self, prompt: Any, completion: Any, cached: float = 0) -> Any:
        """What so many tokens cost, vectorised; the cached ones are among those of the prompt."""
        return ((prompt - cached) * self.prompt + cached * self.cached + completion * self.completion) / _MILLION


def tariff(model: Model) -> Tariff | None:
    """What a model's tokens cost; None where that is not known.

    Where one of the two prices is declared, the other is 0: embeddings have no completion.

    Examples:
        >>> from agenttts.pipeline.tariff import tariff
        >>> priced = at.Model("m", usd_per_million_prompt_tokens=0.25, usd_per_million_completion_tokens=2.0)
        >>> tariff(priced).usd(prompt=4000, completion=500)
        0.002
    """
    prompt, completion = model.usd_per_million_prompt_tokens, model.usd_per_million_completion_tokens
    if prompt is None and completion is None:
        return listed(model.served_name, model.base_url, str(model.own_fields.get("service_tier") or ""))
    cached = model.usd_per_million_cached_prompt_tokens
    return Tariff(prompt or 0.0, completion or 0.0, prompt or 0.0 if cached is None else cached)


def needed_tariff(model: Model, what: str) -> Tariff:
    """What a model's tokens cost, of prompts and of completions.

    Raises:
        ConfigError: When one of them is not known; the message says what needs it.
    """
    found = tariff(model)
    one = (model.usd_per_million_prompt_tokens is None) != (model.usd_per_million_completion_tokens is None)
    if found is None or one:
        hint = "" if installed("genai_prices") else f"; for well-known providers there is a list: {install('prices')}"
        raise ConfigError(
            f"{what} needs the prices of model {model.name!r}: declare usd_per_million_prompt_tokens and "
            f"usd_per_million_completion_tokens on the Model (0 for a server of your own){hint}"
        )
    return found


def listed(served_name: str, base_url: str | None, tier: str = "") -> Tariff | None:
    """What the list has of a model at an endpoint; None where it has nothing, or is not installed."""
    url = (base_url or os.environ.get("OPENAI_BASE_URL") or _DEFAULT_URL).strip()
    if url.startswith(_LOCAL) or not installed("genai_prices"):
        return None
    return _listed(served_name, url, tier)


@cache
def _listed(served_name: str, url: str, tier: str) -> Tariff | None:
    from genai_prices import Usage, calc_price

    def price(**tokens: int) -> Any:
        context = {"service_tier": tier} if tier else None
        return calc_price(Usage(**tokens), served_name, provider_api_url=url, price_context=context)

    try:
        fresh, cached = (
            price(input_tokens=_SOME, output_tokens=_SOME),
            price(input_tokens=_SOME, cache_read_tokens=_SOME),
        )
    except LookupError:
        return None
    per_million = _MILLION / _SOME
    return Tariff(
        float(fresh.input_price) * per_million,
        float(fresh.output_price) * per_million,
        float(cached.input_price) * per_million,
        f"genai-prices {version('genai-prices')} ({_date()})",
    )


@cache
def _date() -> str:
    """The newest date from which a price in the list holds today: the list itself tells no other."""
    from datetime import UTC, datetime

    from genai_prices.data import providers

    models = [model for provider in providers for model in provider.models]
    prices = [each for model in models if isinstance(model.prices, list) for each in model.prices]
    dates = [getattr(each.constraint, "start_date", None) for each in prices]
    found = [date for date in dates if date is not None and date <= datetime.now(UTC).date()]
    return f"newest price of {max(found).isoformat()}" if found else "of no date"
