"""`calibrate`, and searches that are priced by what it measured."""

from __future__ import annotations

import time
from collections.abc import Sequence

import pytest
import yaml

import agenttts as at
from tests.cli.conftest import Shell
from tests.endpoint import FakeEndpoint

FILE = """
models:
  small: {measured: [{requests_at_once: 1, prefill_tokens_per_s: 1000, decode_tokens_per_s: 100},
                     {requests_at_once: 8, prefill_tokens_per_s: 1000, decode_tokens_per_s: 400},
                     {requests_at_once: 32, prefill_tokens_per_s: 1000, decode_tokens_per_s: 800}]}
  large: {measured: [{requests_at_once: 1, prefill_tokens_per_s: 100, decode_tokens_per_s: 10},
                     {requests_at_once: 8, prefill_tokens_per_s: 100, decode_tokens_per_s: 40},
                     {requests_at_once: 32, prefill_tokens_per_s: 100, decode_tokens_per_s: 80}]}
"""
SEARCH = "search mine.py:environment --cost gpu_seconds --budget 0.5 --trials 3 --method random"


@pytest.mark.slow
def test_what_is_measured_prices_a_search(shell: Shell, endpoint: FakeEndpoint) -> None:
    def reply(messages: Sequence[dict[str, str]], seed: int) -> str:
        tokens = endpoint.requests[-1]["max_tokens"]
        time.sleep(0.0005 * len(messages[-1]["content"].split()) + 0.002 * tokens)
        return " ".join(["word"] * tokens)

    endpoint.reply = reply
    rows = shell.json("calibrate mine.py:environment --batches 1,2 --repeats 2")
    assert [(row["model"], row["requests_at_once"]) for row in rows] == [
        (model, batch) for model in ("small", "large") for batch in (1, 2)
    ]
    file = yaml.safe_load((shell.folder / "throughput.yaml").read_text())
    assert [row["requests_at_once"] for row in file["models"]["small"]["measured"]] == [1, 2]
    text = shell(f"{SEARCH} --throughput throughput.yaml")
    assert "throughput   throughput.yaml, as measured with 2 requests at once (the search has at most 10)" in text
    assert "allocations cost at most 500 GPU ms per query" in text


@pytest.mark.slow
def test_the_calibration_is_kept_with_the_study_its_file_and_its_report(
    shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    (shell.folder / "t.yaml").write_text(FILE)
    shell(f"{SEARCH} --throughput t.yaml")
    (shell.folder / "allocation.yaml").write_text(shell("best"))
    best = yaml.safe_load((shell.folder / "allocation.yaml").read_text())
    assert best["cost"]["unit"] == "GPU s"
    assert best["cost"]["throughput"]["large"] == {"prefill_tokens_per_s": 100, "decode_tokens_per_s": 40}
    shell("report -o r.html")
    page = (shell.folder / "r.html").read_text()
    assert "t.yaml, as measured with 8 requests at once (the search has at most 10)" in page
    # The file deploys without the calibration at hand, and the study goes on only under the same prices.
    with monkeypatch.context() as patch:
        patch.chdir(shell.folder)
        deployed = at.deployed("allocation.yaml")
    assert deployed.space.cost(deployed.allocation) == pytest.approx(best["cost"]["per_query"])
    (shell.folder / "t.yaml").write_text(FILE.replace("40}", "50}"))
    assert "token lengths, prices or throughputs changed" in shell(f"{SEARCH} --throughput t.yaml", code=2)


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (SEARCH, "needs prefill_tokens_per_s of model 'small': give --throughput FILE (`agenttts calibrate` writes"),
        (f"{SEARCH} --throughput none.yaml", "cannot read the throughput file 'none.yaml'"),
        (f"{SEARCH} --throughput other.yaml", "has no model 'small', it has another"),
        (f"{SEARCH} --throughput one.yaml", "has no model 'large', it has small"),
        ("search mine.py:environment --budget 1 --throughput t.yaml", "gpu_seconds are priced by, not flops"),
        ("calibrate minihop-recorded", "has nothing to measure"),
        ("calibrate mine.py:environment --batches 1,x", "--batches must be whole numbers >= 1"),
        ("calibrate mine.py:environment --batches 100", "100 requests at once cannot be measured"),
        ("calibrate mine.py:environment -o nowhere/t.yaml", "there is no folder 'nowhere'"),
    ],
)
def test_bad_input_is_one_sentence_before_anything_is_asked(
    shell: Shell, endpoint: FakeEndpoint, command: str, message: str
) -> None:
    (shell.folder / "t.yaml").write_text(FILE)
    (shell.folder / "other.yaml").write_text(FILE.replace("small", "another").replace("large", "third"))
    (shell.folder / "one.yaml").write_text(FILE.replace("large", "third"))
    assert message in shell(command, code=2)
    assert not endpoint.requests and not any(name.endswith(".db") for name in shell.files)
