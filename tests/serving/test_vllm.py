"""vLLM servers as processes: started, watched, swapped, stopped; a stand-in executable speaks vLLM's protocol."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from agenttts.environments import LiveEnvironment
from agenttts.errors import ConfigError, EndpointError
from agenttts.llm.openai import OpenAIClient
from agenttts.pipeline import Model, Pipeline, Subtask
from agenttts.pipeline.metrics import equal
from agenttts.serving import VllmServing
from agenttts.serving.gpus import parse_cards
from agenttts.space.allocation import Allocation
from tests import vllm_standin

SMALL = Model("small", 1e9, layers=16, hidden_size=1024, kv_width=256)
LARGE = Model("large", 7e9, layers=32, hidden_size=4096, kv_width=1024, served_name="org/large")
STAGES = (Subtask("find", (SMALL, LARGE), "{{ question }}"), Subtask("answer", (SMALL, LARGE), "{{ question }} then?"))
PIPELINE = Pipeline("p", STAGES, metric=equal("gold"))
ROWS = [{"id": str(i), "question": f"q{i}", "gold": "yes"} for i in range(12)]
BOTH_STAGES = Allocation({"find": ("small", 2), "answer": ("large", 1)})


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the stand-in is told what to do, and tells what happened."""
    for name, value in vllm_standin.install(tmp_path).items():
        monkeypatch.setenv(name, value)
    return tmp_path


def environment(folder: Path, gpus: str = "1x80", **options: object) -> tuple[LiveEnvironment, VllmServing]:
    serving = VllmServing(PIPELINE, cards=parse_cards(gpus), logs=folder / "logs", **options)  # type: ignore[arg-type]
    # Without retries of its own: a crash shows at once.
    made = LiveEnvironment(PIPELINE, ROWS, client=OpenAIClient(max_retries=0))
    made.serve(serving)
    return made, serving


def events(folder: Path) -> list[list[str]]:
    return [line.split() for line in (folder / "events").read_text().splitlines()]


def pids(folder: Path) -> list[int]:
    """Servers and their workers."""
    return [int(pid) for event in events(folder) if event[0] == "start" for pid in event[2:4]]


def wait_until_gone(numbers: list[int]) -> None:
    assert numbers
    for _ in range(600):
        if not any(Path(f"/proc/{number}").exists() and not _is_dead(number) for number in numbers):
            return
        time.sleep(0.05)
    raise AssertionError(f"still there: {[number for number in numbers if not _is_dead(number)]}")


def _is_dead(number: int) -> bool:
    try:
        return Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


async def test_models_that_fit_are_served_side_by_side_and_nothing_is_left_running(folder: Path) -> None:
    told: list[str] = []
    made, serving = environment(
        folder, tell=told.append, weights={"small": "/weights/small"}, arguments=["--seed", "1"]
    )
    async with made, made:  # entered twice, started once
        assert (await made.evaluate(BOTH_STAGES)).score == 1
    wait_until_gone(pids(folder))
    assert sorted(event[1] for event in events(folder) if event[0] == "start") == ["org/large", "small"]
    assert all(event[0] in ("start", "ask") for event in events(folder))
    assert serving.placement.shifts == 1
    assert any(text.startswith("small: up after ") for text in told)
    words = (folder / "small.words").read_text().splitlines()
    assert words[words.index("--max-model-len") + 1] == "4096" and words[-2:] == ["--seed", "1"]
    assert "--enable-sleep-mode" not in words
    assert {path.name for path in (folder / "logs").iterdir()} == {"small.log", "large.log"}


async def test_models_that_do_not_fit_take_turns_in_stage_major_order(folder: Path) -> None:
    made, serving = environment(folder, "1x22")
    assert (serving.placement.shifts, serving.placement.swap) == (2, "sleep")
    async with made:
        assert (await made.evaluate(BOTH_STAGES)).score == 1
        assert serving.turns is not None and serving.turns.generating_s > 0
        asked = [event[0] + event[1] for event in events(folder) if event[0] in ("ask", "asleep!")]
        swaps = sum(before != after for before, after in zip(asked, asked[1:], strict=False))
        assert "asleep!" not in {event[0] for event in events(folder)}
        assert len(asked) >= 24 and swaps == 1  # every example's first stage, then every example's second
        assert serving.turns.swaps <= 2
    wait_until_gone(pids(folder))


async def test_servers_are_swapped_by_restarts_where_sleeping_ones_would_not_fit(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agenttts.serving.gpu_servers._HOST_SHARE", 1e-6)
    made, serving = environment(folder, "1x22")
    assert serving.placement.swap == "restart"
    async with made:
        assert (await made.evaluate(BOTH_STAGES)).score == 1
    assert [event[0] for event in events(folder) if event[0] in ("sleep", "wake", "crash")] == []
    assert len([event for event in events(folder) if event[0] == "start"]) >= 3
    wait_until_gone(pids(folder))


async def test_a_crashed_server_comes_back_and_its_requests_are_asked_again(folder: Path) -> None:
    (folder / "crash").write_text("2")
    made, _ = environment(folder)
    async with made:
        evaluation = await made.evaluate(Allocation({"find": ("small", 1), "answer": ("small", 1)}))
    assert evaluation.score == 1 and evaluation.failures == 0
    assert [event[0] for event in events(folder)].count("crash") == 2
    wait_until_gone(pids(folder))


async def test_a_server_that_keeps_crashing_is_given_up(folder: Path) -> None:
    (folder / "crash").write_text("1000")
    made, _ = environment(folder)
    async with made:
        with pytest.raises(EndpointError, match=r"the vLLM server of 'small' crashed 4 times, and is given up: "):
            await made.evaluate(Allocation({"find": ("small", 1), "answer": ("small", 1)}))
    wait_until_gone(pids(folder))


async def test_a_server_that_does_not_start_says_why_and_leaves_no_other(folder: Path) -> None:
    (folder / "refuse").write_text("yes")
    made, _ = environment(folder)
    with pytest.raises(EndpointError, match=r"the vLLM server of '\w+' did not start: ValueError: not enough memory"):
        async with made:
            pass
    wait_until_gone(pids(folder))


async def test_a_server_that_never_comes_up_is_not_waited_for_for_ever(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "slow").write_text("600")
    monkeypatch.setattr("agenttts.serving.gpu_servers._START_S", 1.0)
    made, _ = environment(folder)
    with pytest.raises(EndpointError, match="was not up after 1 s"):
        async with made:
            pass
    wait_until_gone(pids(folder))


async def test_a_server_of_somebody_else_on_the_port_is_not_taken_for_ours(folder: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        made, _ = environment(folder, port=port)
        with pytest.raises(ConfigError, match=f"port {port} cannot be used .*: give another --port"):
            async with made:
                pass
    assert not (folder / "events").exists()


@pytest.mark.parametrize("said", ["0.26rc1", "0.26.0rc1.dev3+g1a2b", "1.0"])
async def test_a_newer_vllm_is_taken_also_before_its_release(folder: Path, said: str) -> None:
    (folder / "version").write_text(said)
    made, _ = environment(folder)
    async with made:
        pass


@pytest.mark.parametrize("said", ["Killed", "libcudart.so.12"])
async def test_a_vllm_that_tells_no_version_is_refused_and_not_called_old(folder: Path, said: str) -> None:
    (folder / "version").write_text(said)
    made, _ = environment(folder)
    with pytest.raises(ConfigError, match=rf"vLLM does not tell its version, it says '{said}'"):
        async with made:
            pass


async def test_an_old_or_missing_vllm_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "version").write_text("INFO something\n0.6.3")
    made, _ = environment(folder)
    with pytest.raises(ConfigError, match=r"vLLM 0.6.3 is too old: at least 0.25 is needed"):
        async with made:
            pass
    monkeypatch.setenv("PATH", "/nowhere")
    (folder / "vllm").mkdir()  # a folder of that name is not vLLM
    monkeypatch.syspath_prepend(str(folder))
    with pytest.raises(ConfigError, match=r"there is no vLLM: .*pip install .*\[vllm\]"):
        async with made:
            pass


def test_servers_end_with_their_parent_even_when_it_is_killed(folder: Path) -> None:
    program = (
        "import asyncio\n"
        "from tests.serving.test_vllm import *\n"
        f"made, serving = environment(Path({str(folder)!r}))\n"
        "async def main():\n"
        "    await serving.start()\n"
        "    print('up', flush=True)\n"
        "    await asyncio.sleep(600)\n"
        "asyncio.run(main())\n"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None and parent.stdout.readline() == "up\n"
        os.kill(parent.pid, signal.SIGKILL)
    wait_until_gone(pids(folder))


async def test_models_with_an_endpoint_are_not_served(folder: Path) -> None:
    made = LiveEnvironment(PIPELINE, ROWS)
    serving = VllmServing(PIPELINE, elsewhere=["large"], cards=parse_cards("1x24"), logs=folder / "logs")
    made.serve(serving, endpoints={"large": "http://127.0.0.1:9/v1"})
    assert [placed.demand.name for placed in serving.placement.placed] == ["small"]
    with pytest.raises(EndpointError, match="cannot reach http://127.0.0.1:9/v1"):
        async with made:
            pass
    wait_until_gone(pids(folder))


def test_weights_of_an_unknown_model_are_refused() -> None:
    with pytest.raises(ConfigError, match="no model 'other' to serve weights of; to serve are small, large"):
        VllmServing(PIPELINE, weights={"other": "/x"})
