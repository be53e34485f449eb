"""The archive of a study's trials."""

from __future__ import annotations

from agenttts.study.trial import Archive


def test_randomness_depends_on_seed_and_archive_only() -> None:
    assert Archive().rng(1).integers(10**9) == Archive().rng(1).integers(10**9)
    assert Archive().rng(1).integers(10**9) != Archive().rng(2).integers(10**9)
