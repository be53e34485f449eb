"""Optional packages: there, missing, or hidden behind a folder of their name."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from agenttts._util.extras import imported, installed
from agenttts.errors import ConfigError


@pytest.fixture
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where folders have the names of packages, as `wandb` leaves one behind."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    for name in ("a_folder_alone", "a_package_further_on"):
        (tmp_path / name).mkdir()
    return tmp_path


@pytest.mark.usefixtures("folders")
@pytest.mark.parametrize("name", ["a_folder_alone", "nowhere_to_be_found"])
def test_a_folder_is_no_package(name: str) -> None:
    assert not installed(name)
    with pytest.raises(ConfigError, match="^it needs a package: .* install .*report"):
        imported(name, "it needs a package", extra="report")


def test_a_folder_hides_no_package(folders: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = folders / "packages" / "a_package_further_on"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("FOUND = True\n")
    monkeypatch.setattr(sys, "path", [*sys.path, str(package.parent)])
    assert installed(package.name) and imported(package.name, "", extra="report").FOUND
