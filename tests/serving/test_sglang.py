"""SGLang servers as processes; a program that plays SGLang's part speaks its documented protocol."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import pytest

from agenttts.environments import LiveEnvironment
from agenttts.errors import ConfigError, EndpointError
from agenttts.execution.pool import SamplePool
from agenttts.llm.openai import OpenAIClient
from agenttts.serving import SglangServing
from agenttts.serving.gpus import parse_cards
from tests import sglang_server
from tests.serving.test_vllm import BOTH_STAGES, PIPELINE, ROWS, events, wait_until_gone


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where SGLang is installed, and tells what happened."""
    for name, value in sglang_server.install(tmp_path).items():
        monkeypatch.setenv(name, value)
    monkeypatch.syspath_prepend(str(tmp_path / "packages"))
    return tmp_path


def environment(folder: Path, gpus: str) -> tuple[LiveEnvironment, SglangServing]:
    serving = SglangServing(PIPELINE, cards=parse_cards(gpus), logs=folder / "logs", weights={"small": "/weights"})
    made = LiveEnvironment(PIPELINE, ROWS, client=OpenAIClient(max_retries=0))
    made.serve(serving)
    return made, serving


def started(folder: Path) -> list[list[str]]:
    return [event for event in events(folder) if event[0] == "start"]


async def test_models_that_fit_are_served_side_by_side_and_nothing_is_left_running(folder: Path) -> None:
    made, serving = environment(folder, "1x80")
    async with made:
        assert (await made.evaluate(BOTH_STAGES)).score == 1
    wait_until_gone([int(event[2]) for event in started(folder)])
    small, large = sorted(started(folder), key=lambda event: event[1] != "small")
    assert (small[1], large[1]) == ("small", "org/large") and serving.placement.shifts == 1
    said = dict(zip(small[4:], small[5:], strict=False))
    placed = serving.placement.placed[0]
    assert (said["--model-path"], said["--context-length"], said["--tp-size"]) == ("/weights", "4096", "1")
    assert int(said["--max-total-tokens"]) == placed.sequences * 4096
    assert "--enable-memory-saver" not in small


async def test_models_that_do_not_fit_take_turns(folder: Path) -> None:
    made, serving = environment(folder, "1x22")
    assert (serving.placement.shifts, serving.placement.swap) == (2, "sleep")
    async with made:
        assert (await made.evaluate(BOTH_STAGES)).score == 1
    happened = [event[0] for event in events(folder)]
    assert "asleep!" not in happened and {"sleep", "wake"} <= set(happened)
    wait_until_gone([int(event[2]) for event in started(folder)])


@pytest.mark.parametrize("told", ["release", "resume"])
async def test_a_server_that_ends_when_it_is_told_to_sleep_or_wake_is_started_again(folder: Path, told: str) -> None:
    made, _ = environment(folder, "1x22")
    async with made:
        (folder / f"crash-{told}_memory_occupation").touch()
        scores = []
        for _ in range(3):
            with suppress(EndpointError):
                scores.append((await made.evaluate(BOTH_STAGES, pool=SamplePool())).score)
    assert scores[-2:] == [1.0, 1.0] and len(started(folder)) == 3
    wait_until_gone([int(event[2]) for event in started(folder)])


async def test_without_sglang_it_is_one_sentence(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    made, _ = environment(tmp_path, "1x80")
    with pytest.raises(ConfigError, match="there is no SGLang in this Python: .* or attach servers by --endpoint"):
        async with made:
            pass


async def test_models_that_fit_on_no_card_are_one_sentence_and_start_nothing(folder: Path) -> None:
    made, _ = environment(folder, "2x8")
    with pytest.raises(ConfigError, match="'large'"):
        async with made:
            pass
    assert not (folder / "events").exists()
