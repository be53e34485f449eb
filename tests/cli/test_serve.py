"""`serve` and `search --serve vllm` as a user runs them, with stand-ins for vLLM and for NVML, which CI cannot have."""

from __future__ import annotations

import re
import signal
import time
from pathlib import Path

import pytest

from tests import vllm_standin
from tests.cli.conftest import Shell
from tests.reader import NVML

MINE = """
import agenttts as at

models = [at.Model("small", 1e9, layers=16, hidden_size=1024), at.Model("large", 7e9, layers=32, hidden_size=4096)]
find = at.Subtask("find", models, "find {{ question }}", prompt_tokens=5, completion_tokens=2, max_samples=4)
answer = at.Subtask("answer", models, "{{ question }} {{ find }}", prompt_tokens=6, completion_tokens=2, max_samples=4)
rows = [{"id": str(i), "question": f"q{i}", "gold": "yes"} for i in range(8)]
environment = at.LiveEnvironment(at.Pipeline("mine", (find, answer), at.metrics.exact_match("gold")), rows)
"""
SEARCH = "search served.py:environment --budget 1e6 --trials 3 --method random --serve vllm"


@pytest.fixture
def served(shell: Shell, tmp_path_factory: pytest.TempPathFactory) -> tuple[Shell, Path, dict[str, str]]:
    """A shell with two GPUs and vLLM, the folder of the stand-in, and the variables that find it."""
    folder = tmp_path_factory.mktemp("standin")
    (shell.folder / "served.py").write_text(MINE)
    (shell.folder / "pynvml.py").write_text(NVML)
    return shell, folder, vllm_standin.install(folder)


def test_a_plan_needs_no_gpu(shell: Shell) -> None:
    rows = shell.json("serve minihop --plan --gpus 1x80")
    assert [row["model"] for row in rows] == ["minihop-xs", "minihop-s", "minihop-m", "minihop-l"]
    assert all(row["gpus"] == [0] and row["shift"] == 1 for row in rows)
    assert "All models at once" in shell("serve minihop --plan --gpus 1x80")
    assert shell.files == set()


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("serve minihop --plan", "GPU"),
        ("serve minihop --plan --gpus 1x1", "are missing"),
        ("serve minihop --plan --gpus big", "--gpus takes COUNTxGIB"),
        ("serve minihop-recorded --plan --gpus 1x80", "replays a recording: it has no models to serve"),
        ("serve minihop --plan --gpus 1x80 --weights nowhere", "--weights takes MODEL=WEIGHTS"),
        ("serve minihop --plan --gpus 1x80 --weights minihop-s=./no", "there is no folder './no'"),
        ("serve minihop --plan --gpus 1x80 --weights other=x", "no model 'other' to serve weights of"),
        ("serve minihop --json", "--json prints a plan"),
        ("search minihop --gpus 1x80", "--gpus is for models that are served: give --serve vllm"),
        ("search minihop --weights m=x", "--weights is for models that are served: give --serve vllm"),
    ],
)
def test_bad_input_is_one_sentence(shell: Shell, command: str, message: str) -> None:
    assert message in shell(command, code=2, CUDA_VISIBLE_DEVICES="")
    assert shell.files == set()


def require_ended(pids: list[int]) -> None:
    """Processes that end with their parent may take a moment for it."""
    for _ in range(100):
        if not any(Path(f"/proc/{pid}").exists() for pid in pids):
            return
        time.sleep(0.05)
    raise AssertionError(f"left running: {pids}")


def test_a_search_starts_its_servers_and_stops_them(served: tuple[Shell, Path, dict[str, str]]) -> None:
    shell, folder, variables = served
    text = shell(SEARCH, 0, **variables)
    assert "Best allocation" in text and "3 trials done" in text
    started = [line.split() for line in (folder / "events").read_text().splitlines() if line.startswith("start")]
    assert {(name, card) for _, name, _, _, card in started} == {("small", "1"), ("large", "0")}
    require_ended([int(pid) for event in started for pid in event[2:4]])


def test_how_prefix_caches_were_used_is_told_and_kept(served: tuple[Shell, Path, dict[str, str]]) -> None:
    shell, _, variables = served
    pattern = re.compile(r"(\d+)% of ([\d,]+) prompt tokens")
    first = pattern.findall(shell(SEARCH, 0, **variables))
    text = shell(SEARCH.replace("--trials 3", "--trials 5"), 0, **variables)
    before, after = (sum(int(tokens.replace(",", "")) for _, tokens in each) for each in (first, pattern.findall(text)))
    assert any(int(share) > 0 for share, _ in first)
    assert after > before > 0  # servers began anew, the study did not
    line = next(line for line in text.splitlines() if "prefix caches" in line)
    shell("report -o r.html")
    assert line.partition(": ")[2] in (shell.folder / "r.html").read_text()


def test_of_other_servers_nothing_is_told_of_prefix_caches(shell: Shell) -> None:
    assert "prefix caches" not in shell("search mine.py:environment --budget 100 --trials 2 --method random")


def test_a_comparison_starts_its_servers_once(served: tuple[Shell, Path, dict[str, str]]) -> None:
    shell, folder, variables = served
    shell(
        "compare served.py:environment --budget 1e6 --trials 2 --methods random,grid --seeds 2 --serve vllm "
        "--gpus 1x80",
        0,
        **variables,
    )
    assert (folder / "events").read_text().count("start") == 2


def test_hidden_gpus_are_not_used(served: tuple[Shell, Path, dict[str, str]]) -> None:
    shell, _, _ = served
    rows = shell.json("serve served.py:environment --plan")
    assert {row["gpus"][0] for row in rows} == {0, 1}
    variables = {"CUDA_VISIBLE_DEVICES": "GPU-1"}
    assert "GPU 1: at most" in shell("serve served.py:environment --plan", 0, **variables)
    assert "asks for 3 GPUs, and this machine has 2" in shell(f"{SEARCH} --gpus 3x80", code=2)


def test_a_model_that_fits_on_no_card_nor_on_both_is_one_sentence(served: tuple[Shell, Path, dict[str, str]]) -> None:
    shell, folder, variables = served
    told = shell(f"{SEARCH} --gpus 2x8", code=2, **variables)
    assert "model 'large' does not fit: it needs" in told and "on each of 2 cards" in told
    assert not (folder / "events").exists()


def test_serve_keeps_its_servers_until_it_is_interrupted(served: tuple[Shell, Path, dict[str, str]]) -> None:
    shell, folder, variables = served
    with shell.start("serve served.py:environment", variables=variables) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith("serving until"):
                break
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)
    assert process.returncode == 130
    require_ended([int(pid) for line in (folder / "events").read_text().splitlines() for pid in line.split()[2:4]])


def test_models_that_must_take_turns_are_not_served_to_others(served: tuple[Shell, Path, dict[str, str]]) -> None:
    shell, folder, variables = served
    with shell.start("serve served.py:environment --gpus 1x22", variables=variables) as process:
        plan, error = process.communicate(timeout=60)
    assert "2 shifts, one awake at a time: `search --serve vllm` swaps by" in " ".join(plan.split())
    assert process.returncode == 2 and "the models do not fit on the GPUs at once" in error
    assert not (folder / "events").exists()
