"""The wheel and the source distribution: whole, valid, and as good as a clone once installed."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
from pathlib import Path
from zipfile import ZipFile

import pytest

ROOT = Path(__file__).parent.parent
pytestmark = pytest.mark.slow


def run(*arguments: str, **options: str | Path) -> str:
    environment = {**os.environ, "PYTHONPATH": str(options.get("path", os.environ.get("PYTHONPATH", "")))}
    command = [sys.executable, "-m", *arguments]
    done = subprocess.run(
        command, cwd=options.get("cwd", ROOT), env=environment, capture_output=True, text=True, timeout=1800
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    for needed in ("build", "hatchling", "twine"):
        pytest.importorskip(needed)
    folder = tmp_path_factory.mktemp("dist")
    run("build", "--no-isolation", "--outdir", str(folder))  # the wheel is made of the source distribution
    return folder


def names_in(built: Path) -> set[str]:
    (wheel,) = built.glob("*.whl")
    return set(ZipFile(wheel).namelist())


def test_they_are_valid_and_of_this_version(built: Path) -> None:
    assert "PASSED" in run("twine", "check", "--strict", *map(str, built.iterdir()))
    assert {file.name for file in built.iterdir()} == {"agenttts-0.1.0-py3-none-any.whl", "agenttts-0.1.0.tar.gz"}


def test_the_wheel_holds_the_package_whole_and_nothing_else(built: Path) -> None:
    tracked = subprocess.run(["git", "ls-files", "agenttts"], cwd=ROOT, capture_output=True, text=True).stdout.split()
    inside = names_in(built)
    assert set(tracked) <= inside
    assert {name.split("/")[0] for name in inside} == {"agenttts", "agenttts-0.1.0.dist-info"}


def test_what_is_installed_passes_the_tests_of_the_source_distribution(built: Path, tmp_path: Path) -> None:
    (wheel,), (source,) = built.glob("*.whl"), built.glob("*.tar.gz")
    run("pip", "install", "--quiet", "--no-deps", "--no-index", "--target", str(tmp_path / "site"), str(wheel))
    with tarfile.open(source) as archive:
        archive.extractall(tmp_path, filter="data")
    (unpacked,) = tmp_path.glob("agenttts-*")
    assert not any(path.is_symlink() for path in unpacked.rglob("*"))
    (unpacked / "agenttts").rename(tmp_path / "unused")
    tests = ["tests/space", "tests/pipeline", "tests/study", "tests/cli/test_start.py", "tests/test_plugins.py"]
    options = ["-p", "no:cacheprovider"]
    path = os.pathsep.join(filter(None, [str(tmp_path / "site"), os.environ.get("PYTHONPATH_TOOLS", "")]))
    assert " passed" in run("pytest", *options, *tests, cwd=unpacked, path=path)
