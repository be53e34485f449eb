"""The files that a repository is expected to have say what the project says."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def content(path: str) -> Any:
    """What a YAML file holds."""
    return yaml.safe_load((ROOT / path).read_text(encoding="utf-8"))


def test_the_citation_is_of_this_version() -> None:
    cited = content("CITATION.cff")
    assert (cited["title"], cited["version"], cited["license"]) == (
        PROJECT["name"],
        PROJECT["version"],
        PROJECT["license"],
    )


def test_the_workflow_runs_what_a_developer_runs_and_may_only_read() -> None:
    workflow = content(".github/workflows/ci.yml")
    assert workflow["permissions"] == {"contents": "read"}
    job = workflow["jobs"]["test"]
    assert job["steps"][-1]["run"] == "PYTHON=python make test"
    assert (ROOT / ".ci" / "run").read_text(encoding="utf-8").endswith("make test\n")
    tested = {f"Programming Language :: Python :: {version}" for version in job["strategy"]["matrix"]["python"]}
    assert tested <= set(PROJECT["classifiers"])


def test_a_commit_is_checked_by_the_programs_of_make_check() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    entries = [hook["entry"] for repo in content(".pre-commit-config.yaml")["repos"] for hook in repo["hooks"]]
    for entry in entries:
        assert entry.removesuffix(" --force-exclude").replace(".venv/bin", "$(BIN)") in makefile


def test_forms_ask_for_something() -> None:
    for name in ("bug_report", "feature_request"):
        form = content(f".github/ISSUE_TEMPLATE/{name}.yml")
        assert {"name", "description", "body"} <= set(form)
        fields = [field for field in form["body"] if field["type"] != "markdown"]
        assert len({field["id"] for field in fields}) == len(fields) > 0
