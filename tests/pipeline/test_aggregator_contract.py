"""What every aggregator promises, kept by ours."""

from __future__ import annotations

from agenttts.pipeline import Aggregator
from agenttts.pipeline.aggregators import BestOf, First, Fuse, MajorityVote
from agenttts.testing import AggregatorSuite


class TestFirst(AggregatorSuite):
    def make(self) -> Aggregator:
        return First()


class TestMajorityVote(AggregatorSuite):
    def make(self) -> Aggregator:
        return MajorityVote()


class TestFuse(AggregatorSuite):
    def make(self) -> Aggregator:
        return Fuse()


class TestBestOf(AggregatorSuite):
    def make(self) -> Aggregator:
        return BestOf()
