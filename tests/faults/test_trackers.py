"""A tracker that fails, hangs or raises what it likes ends no search, delays none, and changes nothing of it.

| a client of a tracker that | must be |
|---|---|
| raises when it is opened, at its third trial, always, or at the end | said once; the search is as without |
| fails once | told again: it has every trial |
| never comes back, from a trial or from the end | said; the search is as without |
| raises what is no `Exception` | the same |
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from agenttts.db import Store
from tests.faults.commands import run
from tests.faults.server import RawServer, right

_CLIENT = """
import pathlib, sys, time

FOLDER = pathlib.Path(__file__).parent

def hang():
    while not (FOLDER / "over").exists():
        time.sleep(0.05)

class Run:
    resumed, calls = False, 0

    def define_metric(self, *given, **more):
        pass

    def log(self, row):
        Run.calls += 1
        {log}
        with (FOLDER / "told").open("a") as file:
            file.write(f"{{row['trial']}}\\n")

    @property
    def summary(self):
        {end}
        (FOLDER / "ended").touch()
        return {{}}

    def finish(self):
        pass

def init(**given):
    {init}
    return Run()
"""
_COMMAND = "search mine.py:environment --budget 1e6 --method random --trials 5 --store s.db --study one --track wandb"
_MINE = """
from tests.faults.server import environment
environment = environment({url!r})
"""


@pytest.fixture(autouse=True)
def own_module() -> Iterator[None]:
    """The client that is imported is the test's own, and nobody else's."""
    real = sys.modules.pop("wandb", None)
    yield
    sys.modules.pop("wandb", None)
    if real is not None:
        sys.modules["wandb"] = real


@pytest.mark.parametrize(
    ("fault", "said", "told", "ended"),
    [
        ({}, "", "12345", True),
        ({"init": 'raise OSError("no server at http://me:s3cret-of-tracker@there")'}, "no server at", "", False),
        ({"log": 'raise ValueError("no\\x1b[2Jrow")'}, "ValueError: no\\x1b[2Jrow", "", False),
        ({"log": 'if Run.calls == 3: raise OSError("busy")'}, "OSError: busy", "12345", True),
        ({"log": "if row['trial'] == 2: sys.exit(0)"}, "SystemExit", "1", False),
        ({"log": "if row['trial'] == 2: hang()"}, "is left alone", "1", False),
        ({"end": "raise OSError('gone')"}, "OSError: gone", "12345", False),
        ({"end": "hang()"}, "is left alone", "12345", False),
    ],
)
def test_a_search_goes_on_without_its_tracker(
    fault: dict[str, str], said: str, told: str, ended: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "wandb.py").write_text(_CLIENT.format(**{"log": "pass", "end": "pass", "init": "pass", **fault}))
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("WANDB_API_KEY", "s3cret-of-tracker")
    if "hang()" in "".join(fault.values()):
        monkeypatch.setattr("agenttts.tracking.aside.TOLD_AFTER_S", 1.0)
        monkeypatch.setattr("agenttts.tracking.aside._GIVEN_UP_AFTER_S", 4.0)
    with RawServer(right) as server:
        Path("mine.py").write_text(_MINE.format(url=server.url))
        done = run(_COMMAND, monkeypatch)
    heard = (tmp_path / "told").read_text().split() if (tmp_path / "told").exists() else []
    assert sorted(set(heard)) == list(told) and (tmp_path / "ended").exists() == ended
    (tmp_path / "over").touch()
    assert done.code == 0, done.err
    assert said in done.err and "Traceback" not in done.err
    assert done.err.count("could not be told") <= 1 and "s3cret" not in done.err and "\x1b" not in done.err
    store = Store(str(tmp_path / "s.db"))
    assert [each.evaluation.score for each in store.archive(store.study("one")).trials] == [1.0] * 5
    store.close()
