"""What tokens cost: as declared, else as the list of a package has it for that endpoint."""

from __future__ import annotations

import pytest

from agenttts.errors import ConfigError
from agenttts.pipeline import Model, Subtask
from agenttts.pipeline.tariff import tariff
from agenttts.space.cost import UsdCost

OPENAI = "https://api.openai.com/v1"


@pytest.mark.parametrize("cached", [None, 1.0])
def test_declared_prices_are_taken(cached: float | None) -> None:
    model = Model(
        "gpt-4o-mini",
        base_url=OPENAI,
        usd_per_million_prompt_tokens=3,
        usd_per_million_completion_tokens=4,
        usd_per_million_cached_prompt_tokens=cached,
    )
    found = tariff(model)
    assert found is not None and found == (3, 4, cached or 3, "")
    assert found.usd(prompt=10, completion=5, cached=4) == pytest.approx((6 * 3 + 4 * (cached or 3) + 5 * 4) / 1e6)


def test_listed_prices_are_those_of_the_endpoint_and_have_a_date(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("genai_prices", reason="genai-prices is not installed")
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    model = Model("mine", served_name="gpt-4o-mini", base_url=OPENAI)
    found = tariff(model)
    assert found is not None and 0 < found.cached < found.prompt < found.completion < 1
    assert found.source.startswith("genai-prices ") and "20" in found.source
    assert tariff(Model("gpt-4o-mini")) == found
    stage = Subtask("s", (model,), "x", prompt_tokens=1000, completion_tokens=100)
    paid = (1000 * found.prompt + 200 * found.completion) / 1e6
    assert float(UsdCost().cost(stage, model, 2)) == pytest.approx(paid)
    flex = tariff(Model("o3", base_url=OPENAI, request={"service_tier": "flex"}))
    usual = tariff(Model("o3", base_url=OPENAI))
    assert flex is not None and usual is not None and flex.completion < usual.completion


@pytest.mark.parametrize("where", ["http://localhost:8000/v1", "https://llm.example.org/v1"])
def test_a_model_of_ones_own_is_not_taken_for_a_providers(where: str) -> None:
    model = Model("gpt-4o-mini", base_url=where)
    assert tariff(model) is None
    with pytest.raises(ConfigError, match="needs the prices of model 'gpt-4o-mini': declare .* server of your own"):
        UsdCost().cost(Subtask("s", (model,), "x"), model, 1)
    assert tariff(Model("no-such-model-1", base_url=OPENAI)) is None


def test_half_a_price_prices_embeddings_but_no_allocation() -> None:
    model = Model("gpt-4o-mini", base_url=OPENAI, usd_per_million_prompt_tokens=1)
    assert tariff(model) == (1, 0, 1, "")
    with pytest.raises(ConfigError, match="needs the prices of model"):
        UsdCost().cost(Subtask("s", (model,), "x"), model, 1)
