"""Allocations: one key, and what is none."""

from __future__ import annotations

import pytest

from agenttts.errors import ConfigError
from agenttts.space.allocation import Allocation


def test_an_allocation_has_one_key_whatever_the_order() -> None:
    one, other = Allocation({"a": ("x", 1), "b": ("y:z", 2)}), Allocation({"b": ("y:z", 2), "a": ("x", 1)})
    assert one == other and hash(one) == hash(other) and one.key == "a=x*1;b=y:z*2"
    assert Allocation.from_key(one.key) == Allocation.from_dict(one.as_dict()) == one
    assert list(other.in_order(["a", "b"])) == ["a", "b"]


@pytest.mark.parametrize("samples", [0, -1, 1.5, True, "3"])
def test_sample_counts_are_positive_whole_numbers(samples: object) -> None:
    with pytest.raises(ConfigError, match="subtask 'a': samples must be a whole number >= 1"):
        Allocation({"a": ("x", samples)})  # type: ignore[dict-item]  # the wrong types are the test


@pytest.mark.parametrize("data", [{"a": {"model": "x"}}, {"a": "x"}, {}])
def test_broken_allocation_data_is_refused(data: dict[str, dict[str, object]]) -> None:
    with pytest.raises(ConfigError):
        Allocation.from_dict(data)


@pytest.mark.parametrize("key", ["a=x", "a=x*1;a=y*2"])
def test_a_broken_key_is_refused(key: str) -> None:
    with pytest.raises(ConfigError, match="not the key"):
        Allocation.from_key(key)
