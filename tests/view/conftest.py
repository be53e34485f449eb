"""A store with a study full of hostile texts, that is searched while it is looked at, and its view on a port."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any

import pytest

import agenttts as at
from agenttts._util.web import WebServer
from agenttts.testing import ScriptedClient
from agenttts.view.application import COOKIE, application
from agenttts.view.background import Background

HOSTILE = "</script><script>window.hacked = 1</script><img src=x onerror='window.hacked = 2'>\x1b[31m\u202eevil"
STUDY = f"one {HOSTILE}/../?x=1#y&z"
STANDS_AT = 4
LINK = "javascript:window.hacked=3"


@dataclass
class Searched:
    """A search in a thread, which stands still after some trials until `going` is set."""

    store: at.Store
    going: threading.Event = field(default_factory=threading.Event)
    failed: list[BaseException] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        space = at.SearchSpace(environment(self).pipeline, at.cost_model("flops"), 320)
        plan: dict[str, Any] = {
            "study_name": STUDY,
            "limits": at.Limits(trials=8),
            "racing": None,
            "counterfactuals": False,
        }
        try:
            asyncio.run(at.search(environment(self), at.searcher("agent", llm="none"), space, self.store, **plan))
        except BaseException as error:  # told by the test that ends it
            self.failed.append(error)

    def finish(self) -> None:
        self.going.set()
        self._thread.join(timeout=60)
        assert not self._thread.is_alive() and not self.failed, self.failed

    def wait_for(self, trials: int) -> None:
        until = time.monotonic() + 60
        while (not self.store.studies() or self.store.count_trials(self.store.study()) < trials) and not self.failed:
            assert time.monotonic() < until
            time.sleep(0.02)


def environment(search: Searched) -> at.LiveEnvironment:
    """Two stages; the second one reads what stands after a colon, which every third sample lacks."""

    def parser(said: str, given: at.SubtaskInput) -> str:
        if ":" not in said:
            raise at.ParseError("no colon")
        return said.rpartition(":")[2].strip()

    def reply(model: at.Model, messages: Sequence[dict[str, str]], position: int) -> str:
        if search.store.count_trials(search.store.study()) >= STANDS_AT:
            search.going.wait(timeout=60)
        if messages[-1]["content"].startswith("find"):
            return f"found {HOSTILE}"
        return ("so: " + LINK, f"nothing {HOSTILE}", f"then: {HOSTILE}")[position % 3]

    small, large = at.Model("small", 1e6), at.Model("large", 8e6)
    lengths: dict[str, Any] = {"prompt_tokens": 5, "completion_tokens": 2, "max_samples": 4}
    find = at.Subtask("find", (small, large), "find {{ question }}", **lengths)
    answer = at.Subtask("answer", (small, large), "{{ question }} {{ find }}", parser=parser, **lengths)
    rows = [{"id": f"e{i} {HOSTILE}?&#/", "question": f"q{i} needle{i}", "gold": LINK if i else "b"} for i in range(5)]
    pipeline = at.Pipeline("mine", (find, answer), at.metrics.exact_match("gold"))
    return at.LiveEnvironment(pipeline, rows[:4], held_out=rows[4:], client=ScriptedClient(reply))


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Searched]:
    with closing(at.Store(str(tmp_path_factory.mktemp("view") / "s.db"))) as store:
        search = Searched(store)
        yield search
        search.finish()


@pytest.fixture(scope="module")
def address(searched: Searched) -> Iterator[str]:
    """Of the view, while the search stands still after a few trials."""
    searched.wait_for(STANDS_AT)
    with (
        closing(at.Store(searched.store.location)) as store,
        closing(Background()) as background,
        WebServer(application(store, background), cookie=COOKIE) as server,
    ):
        yield server.address
