"""`agenttts samples`: what was asked and said, in a terminal, in a pipe and as JSON."""

from __future__ import annotations

from tests.cli.conftest import SEARCH, Shell
from tests.cli.test_terminal import in_terminal
from tests.endpoint import FakeEndpoint


def test_prompts_and_replies_are_shown_escaped_and_paged(shell: Shell, endpoint: FakeEndpoint) -> None:
    endpoint.reply = lambda messages, seed: "\x1b[2Jtext"
    shell(f"{SEARCH} --trials 2 --study one")
    plain = shell("samples one --trial 1 --stage find")
    assert "  find: " in plain and "user: find q" in plain and "\\x1b[2Jtext" in plain and "\x1b" not in plain
    (first, *_) = shell.json("samples --trial 1 --example 0")
    assert first["given"]["question"] == "q0" and [stage["stage"] for stage in first["stages"]] == ["find", "answer"]
    assert shell.json("samples --failed") == []
    assert "no example failed" in shell("samples --failed")
    assert "agenttts samples one --trial 2" in shell("trace --trial 2")
    shown = in_terminal(shell, "samples --trial 2", 100, PAGER="head -n 1")
    assert len(shown) == 1 and shown[0].startswith("trial 2, example ")
    assert "no trial 7" in shell("samples --trial 7", code=2)
