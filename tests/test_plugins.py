"""The package of the guide "Extend it": what it shows is what is installed, and it runs and keeps its promises."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import agenttts as at
from agenttts.pipeline.operators import Operator
from agenttts.testing import EnvironmentSuite, OperatorSuite, SearcherSuite
from tests.pages import blocks

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "examples" / "plugin"
sys.path.append(str(PACKAGE))

from agenttts_example.environment import Dice  # noqa: E402
from agenttts_example.operator import Longest  # noqa: E402
from agenttts_example.planner import FrugalAgent  # noqa: E402
from agenttts_example.searcher import HillClimb  # noqa: E402


class TestHillClimb(SearcherSuite):
    def make(self, seed: int) -> at.Searcher:
        return HillClimb(seed=seed)


class TestDice(EnvironmentSuite):
    def make(self) -> at.Environment:
        return Dice()

    def allocation(self) -> at.Allocation:
        return at.Allocation({"throw": ("small", 3)})


class TestLongest(OperatorSuite):
    def make(self) -> Operator:
        return Longest()


class TestFrugalAgent(SearcherSuite):
    may_fall_short = True  # an agent's initial trials may leave a last call short

    def make(self, seed: int) -> at.Searcher:
        return FrugalAgent(seed=seed)


def test_the_guide_shows_the_package() -> None:
    for block in blocks(ROOT / "docs" / "guides" / "extend.md"):
        if block.language == "python":
            assert (PACKAGE / "agenttts_example" / block.title).read_text().rstrip() == block.code.rstrip()
        else:
            assert block.code.rstrip() in (PACKAGE / block.title).read_text()


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("hatchling")
    folder = tmp_path_factory.mktemp("plugins")
    source = folder / "source"
    source.mkdir()
    for file in (PACKAGE / "pyproject.toml", *(PACKAGE / "agenttts_example").glob("*.py")):
        target = source / file.relative_to(PACKAGE)
        target.parent.mkdir(exist_ok=True)
        target.write_text(file.read_text())
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--no-index",
               "--disable-pip-version-check", "--target", str(folder / "site"), str(source)]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return folder / "site"


@pytest.mark.parametrize(("env", "method"), [("dice", "hillclimb"), ("dice", "agent-frugal"), ("longest", "random")])
def test_an_installed_plug_in_is_found_by_its_name(installed: Path, tmp_path: Path, env: str, method: str) -> None:
    path = os.pathsep.join([str(installed), *filter(None, [os.environ.get("PYTHONPATH")])])
    command = [sys.executable, "-c", "from agenttts.cli import main; main()", "search", env]
    done = subprocess.run(
        [*command, "--method", method, "--trials", "4"],
        cwd=tmp_path, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert f"{env}-flops" in done.stdout and method in done.stdout


class Nameless(at.Searcher):
    async def propose(self, archive: at.Archive, space: at.SearchSpace, count: int) -> list[at.Proposal]:
        return ["small x1"]  # type: ignore[list-item]


class Talker(Nameless):
    name = "talker"


class Silent(at.Searcher):
    name = "silent"

    def __init__(self, *, seed: int) -> None:
        pass


class Locked(Talker):
    def __init__(self, *, seed: int) -> None:
        raise KeyError("licence")


class Late(Talker):
    async def propose(self, archive: at.Archive, space: at.SearchSpace, count: int) -> list[at.Proposal]:
        raise OSError("no disk")


class AtOnce(Talker):
    def propose(self, archive: at.Archive, space: at.SearchSpace, count: int) -> list[at.Proposal]:  # type: ignore[override]
        return []


class Short(Talker):
    async def propose(self, archive: at.Archive) -> list[at.Proposal]:  # type: ignore[override]
        return []


class Deaf(Dice):
    async def evaluate(self, allocation: at.Allocation) -> at.Evaluation:  # type: ignore[override]
        raise AssertionError


class Torn(Dice):
    async def evaluate(self, *given: object, **named: object) -> at.Evaluation:
        raise OSError("no disk")


@pytest.mark.parametrize(
    ("target", "said"),
    [
        ("no_such_package:X", "the method 'odd' (no_such_package:X): there is no module 'no_such_package'"),
        ("tests.test_plugins:Missing", "registered as tests.test_plugins:Missing, which must be a class that inherits"),
        (
            "tests.test_plugins:Dice",
            "Searcher, not <class 'agenttts_example.environment.Dice'>",
        ),
        (
            "tests.test_plugins:Silent",
            "failed with TypeError: Can't instantiate abstract class Silent",
        ),
        ("tests.test_plugins:Nameless", "called with seed= failed with TypeError: Nameless() takes no arguments"),
        (
            "tests.test_plugins:Locked",
            "of test_plugins.py) failed with KeyError: 'licence'",
        ),
        ("broken:X", "the method 'odd' (broken:X) (line 1 of broken.py) failed with ZeroDivisionError"),
    ],
)
def test_a_faulty_method_is_one_sentence(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, target: str, said: str
) -> None:
    from agenttts.searching import methods

    (tmp_path / "broken.py").write_text("1 / 0\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setitem(methods._BUILT_IN, "odd", target)
    with pytest.raises(at.ConfigError) as raised:
        at.searcher("odd")
    assert said in str(raised.value)


async def test_a_plug_in_that_lacks_something_is_named() -> None:
    dice = Dice()
    space = at.SearchSpace(dice.pipeline, at.cost_model("flops"), 800)
    with pytest.raises(at.ConfigError, match="the searcher Nameless has no name: set it in the class or in __init__"):
        at.SearchPlan(dice, Nameless(), space, at.Store(), study_name="x")
    for searcher, said in (
        (Talker(), r"the searcher 'talker' proposed \['small x1'\] instead of a list of Prop"),
        (Late(), r"the searcher 'talker' \(line \d+ of test_plugins.py\) failed with OSError: no disk"),
        (AtOnce(), "the searcher AtOnce: propose must be a coroutine function, `async def propose"),
        (Short(), r"the searcher Short cannot be called as propose\(archive, space, count\): too many"),
    ):
        with pytest.raises(at.ConfigError, match=said):
            await at.search(dice, searcher, space, at.Store(), study_name="x")
    for environment, said in (
        (Deaf(), r"the environment Deaf cannot be called as evaluate\(allocation, examples, \*, pool\): too many"),
        (Torn(), r"environment 'dice' \(line \d+ of test_plugins.py\) failed with OSError: no disk"),
        ("dice", "the environment of a search is 'dice', which does not inherit from agenttts.protocols.Environment"),
    ):
        with pytest.raises(at.ConfigError, match=said):
            await at.search(environment, HillClimb(), space, at.Store(), study_name="y")  # type: ignore[arg-type]
    del dice.examples
    with pytest.raises(at.ConfigError, match="the environment Dice has no examples"):
        at.SearchPlan(dice, HillClimb(), space, at.Store(), study_name="x")


def test_a_budget_says_which_argument_is_which() -> None:
    with pytest.raises(
        at.ConfigError, match=r"takes the amount, then the cost model's name, as in Budget\(900, 'flops'"
    ):
        at.Budget("flops", 900)  # type: ignore[arg-type]
