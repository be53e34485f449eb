"""Where the examples of the tasks' tests are: our own, and samples of the public datasets where there are any."""

from __future__ import annotations

import os
from pathlib import Path

OWN = Path(__file__).parents[2] / "data"
_BESIDE = Path(__file__).parents[3].parent / "shared" / "data"
SAMPLES = Path(os.environ.get("AGENTTTS_SHARED_DATA", _BESIDE))
"""Samples of the public datasets, beside the repository; tests that use them skip where they are absent."""
