"""Where samples of the public datasets are, for the tests that check the loaders on them; such tests skip elsewhere."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

_DEFAULT = Path(__file__).parents[2] / "shared" / "data"


def shared_data(name: str) -> Path:
    """The file or folder of this name; skips the test where it is absent."""
    path = Path(os.environ.get("AGENTTTS_SHARED_DATA", _DEFAULT)) / name
    if not path.exists():
        pytest.skip(f"{name} is not among the shared data")
    return path
