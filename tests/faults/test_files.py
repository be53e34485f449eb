"""Files from others and files of ours: hostile ones are one sentence, and what we write is whole and inert."""

from __future__ import annotations

import csv
import gzip
import os
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

import agenttts as at
from agenttts._util.files import replacing
from agenttts._util.yaml_file import written
from agenttts.calibration.file import read_throughput, write_throughput
from agenttts.calibration.measure import Measured
from agenttts.db import Store
from agenttts.environments.table import RecordedOutcome, read_table, write_table
from agenttts.testing import ScriptedClient
from tests.faults.commands import run

HOSTILE: dict[str, bytes] = {
    "laughs": b"a: &a [x, x, x, x, x, x, x, x, x]\nb: &b [*a, *a, *a, *a, *a, *a, *a, *a]\nc: [*b, *b, *b, *b, *b]",
    "recursive": b"&a pipeline: *a", "recursive list": b"&a [*a]", "recursive mapping": b"&a {x: *a}",
    "merge of itself": b"&a\n<<: *a", "deep list": b"[" * 200_000, "deep mapping": b"{a: " * 50_000,
    "deep and closed": b"[" * 5_000 + b"]" * 5_000, "deep lines": b"".join(b" " * i + b"a:\n" for i in range(1500)),
    "number key": b"1: 2", "null key": b"~: 2", "list key": b"? [a]\n: b", "mapping key": b"? {a: b}\n: c",
    "date key": b"2020-01-01: x", "huge int": b"pipeline: " + b"9" * 10_000,
    "huge hex": b"pipeline: 0x" + b"f" * 20_000,
    "huge hex key": b"0x" + b"f" * 20_000 + b": 1", "base 60": b"pipeline: " + b":".join([b"59"] * 20_000),
    "date": b"pipeline: 2024-13-45", "time": b"pipeline: 2024-01-01T99:99:99Z", "empty int": b'pipeline: !!int ""',
    "bad bool": b"pipeline: !!bool maybe", "bad float": b'pipeline: !!float ""',
    "bad binary": "pipeline: !!binary é".encode(),
    "python": b"pipeline: !!python/object/apply:os.system [echo]", "python name": b"!!python/name:os.system",
    "tag": b"!nobody {a: b}", "set": b"!!set [1]", "omap": b"!!omap [1]", "pairs": b"!!pairs [[1]]",
    "nul": b"pipeline: a\0b", "nul escape": b'pipeline: "a\\0b"', "escape": b"pipeline: a\x1bb",
    "half a pair": b'pipeline: "\\ud800"', "latin-1": "pipeline: é".encode("latin-1"),
    "utf-16": "pipeline: x".encode("utf-16"), "utf-32": "pipeline: x".encode("utf-32"),
    "bom": b"\xef\xbb\xbfpipeline: x",
    "list": b"- a\n- b", "text": b"hello", "number": b"7", "nothing": b"", "null": b"~",
    "two documents": b"a: b\n---\nc: d",
    "tab": b"\ta: b", "unclosed": b'a: "b', "directive": b"%YAML 9.9\n---\na: b", "large": b"a: b\n" * 2_000_000,
    "many values": b"a: [" + b"1," * 300_000 + b"]", "long value": b"pipeline: " + b"x" * 300_000,
    "question": b"?", "anchor": b"&", "alias": b"*x", "percent": b"%", "emoji": "😀".encode(),
}  # fmt: skip


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def require_one_sentence(command: str, monkeypatch: pytest.MonkeyPatch) -> str:
    ended = run(command, monkeypatch)
    assert ended.code == 2 and ended.err.startswith("error: ") and ended.err.count("\n") == 1, ended
    assert len(ended.err) < 1000 and not ended.out
    return ended.err


def require_refused(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """As an allocation file, and as a throughput file."""
    require_one_sentence(f"serve-pipeline {path} --port 0", monkeypatch)
    search = "search minihop-recorded --cost gpu_seconds --budget 1 --trials 1 --method random"
    require_one_sentence(f"{search} --throughput {path}", monkeypatch)


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_yaml_file_is_one_sentence(name: str, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (here / "file.yaml").write_bytes(HOSTILE[name])
    require_refused("file.yaml", monkeypatch)


def test_what_is_no_file_is_one_sentence(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (here / "folder.yaml").mkdir()
    os.mkfifo(here / "pipe.yaml")
    (here / "zero.yaml").symlink_to("/dev/zero")
    (here / "loop.yaml").symlink_to("loop.yaml")
    (here / "gone.yaml").symlink_to("nowhere")
    for name in ("folder", "pipe", "zero", "loop", "gone", "n" * 300):
        require_refused(f"{name}.yaml", monkeypatch)


ALLOCATION: dict[str, Any] = {
    "pipeline": "minihop", "environment": "minihop-recorded", "fingerprints": {"x": "y"},
    "allocation": {"retrieve": {"model": "minihop-s", "samples": 1}, "answer": {"model": "minihop-m", "samples": 1}},
    "cost": {"budget": 700.0, "cost_model": "flops"},
}  # fmt: skip


@pytest.mark.parametrize(("place", "value"), [
    ("cost.budget", float("nan")), ("cost.budget", float("inf")), ("cost.budget", True), ("cost.budget", "x"),
    ("cost.budget", -5.0), ("cost.budget", 10**400), ("cost.budget", []), ("cost.cost_model", "nonsense"),
    ("cost.cost_model", 7),
    ("allocation.answer.samples", True), ("allocation.answer.samples", -1), ("allocation.answer.samples", 0),
    ("allocation.answer.samples", 1.5), ("allocation.answer.samples", 10**30), ("allocation.answer.samples", "\u0662x"),
    ("allocation.answer.model", "nobody"), ("allocation.answer", None), ("allocation", []), ("allocation", {}),
    ("fingerprints", {}), ("fingerprints", ["x"]), ("fingerprints", {"x": 1}), ("fingerprints", None), ("pipeline",
    "other"),
    ("environment", ""), ("environment", ":"), ("environment", 3), ("endpoints", {"minihop-s": 3}), ("endpoints",
    ["x"]),
    ("cost.throughput", {"m": {"prefill_tokens_per_s": float("nan"), "decode_tokens_per_s": -1.0}}),
])  # fmt: skip
def test_a_value_that_is_none_is_one_sentence(
    place: str, value: Any, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = yaml.safe_load(yaml.safe_dump(ALLOCATION))
    *parents, last = place.split(".")
    at_place = content
    for name in parents:
        at_place = at_place[name]
    at_place[last] = value
    (here / "allocation.yaml").write_text(written(content))
    require_one_sentence("serve-pipeline allocation.yaml --port 0", monkeypatch)


@pytest.mark.parametrize("figure", ["nan", "inf", "true", "-1", "0", '"x"', "1e400", "[]", "~"])
@pytest.mark.parametrize("name", ["requests_at_once", "prefill_tokens_per_s", "gpus"])
def test_a_throughput_that_is_none_is_one_sentence(name: str, figure: str, tmp_path: Path) -> None:
    row = {"requests_at_once": "1", "prefill_tokens_per_s": "5.0", "decode_tokens_per_s": "5.0"} | {
        name: f".{figure}" if figure in ("nan", "inf") else figure
    }
    gpus = row.pop("gpus", "1")
    (tmp_path / "t.yaml").write_text(
        f"models: {{m: {{gpus: {gpus}, measured: [{{{', '.join(f'{k}: {v}' for k, v in row.items())}}}]}}}}"
    )
    with pytest.raises(at.ConfigError, match="is not one that `agenttts calibrate` wrote"):
        read_throughput(tmp_path / "t.yaml", _pipeline(), at_most=1)


def _pipeline() -> at.Pipeline:
    stage = at.Subtask("s", (at.Model("m", 1e6),), "{{ q }}", prompt_tokens=5, completion_tokens=2, max_samples=4)
    return at.Pipeline("p", (stage,), metric=at.metrics.exact_match("gold"))


def test_what_is_written_is_read_back_without_aliases(tmp_path: Path) -> None:
    shared = {"a": 1}
    text = written({"x": shared, "y": shared, "z": [shared, shared]})
    assert "&" not in text and "*" not in text and yaml.safe_load(text)["y"] == shared


# Tables

CELLS = ["=1+1", "+x", "-x", "@SUM(A1)", "\tx", "\rx", "\nx", "'=x", "''-x", "'tis", "=", "plain", "＝1", 'a"b,c']


@pytest.mark.parametrize("suffix", [".csv", ".csv.gz", ".parquet"])
def test_a_table_holds_no_formula_and_is_read_back_as_it_was(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"table{suffix}"
    chosen = at.Allocation({"s": ("m", 1)})
    write_table(path, _pipeline(), [RecordedOutcome(allocation=chosen, example=cell, score=0.5) for cell in CELLS])
    assert [outcome.example for outcome in read_table(path, _pipeline())] == CELLS
    if suffix != ".parquet":
        opened: Any = gzip.open if suffix.endswith("gz") else open
        with opened(path, "rt", newline="", encoding="utf-8") as file:
            cells = [cell for row in csv.reader(file) for cell in row]
        assert not [cell for cell in cells if cell.startswith(("=", "+", "-", "@", "\t", "\r", "＝"))]


@given(st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1), min_size=1, unique=True))
def test_any_id_survives_a_table(names: list[str]) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        path, chosen = Path(folder) / "t.csv", at.Allocation({"s": ("m", 1)})
        write_table(path, _pipeline(), [RecordedOutcome(allocation=chosen, example=name, score=0.5) for name in names])
        assert [outcome.example for outcome in read_table(path, _pipeline())] == names


class Cut(Exception):
    """What interrupts a writer."""


@pytest.mark.parametrize("suffix", [".csv", ".csv.gz"])
def test_a_half_written_table_never_replaces_a_whole_one(
    suffix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, chosen = tmp_path / f"table{suffix}", at.Allocation({"s": ("m", 1)})
    write_table(path, _pipeline(), [RecordedOutcome(allocation=chosen, example="whole", score=0.5)])
    whole = path.read_bytes()

    def half(self: Any, rows: Iterator[Any]) -> None:
        self.writerow(next(iter(rows)))
        raise Cut

    real = csv.writer

    class Halting:
        def __init__(self, file: Any) -> None:
            self.writerow = real(file).writerow

        writerows = half

    monkeypatch.setattr(csv, "writer", Halting)
    with pytest.raises(Cut):
        write_table(
            path, _pipeline(), [RecordedOutcome(allocation=chosen, example=str(i), score=0.5) for i in range(9)]
        )
    assert path.read_bytes() == whole and list(tmp_path.iterdir()) == [path]


def test_a_file_is_replaced_whole_with_its_rights_and_through_its_link(tmp_path: Path) -> None:
    real, link = tmp_path / "real.txt", tmp_path / "link.txt"
    real.write_text("old")
    real.chmod(0o640)
    link.symlink_to(real)
    with pytest.raises(Cut), replacing(link) as draft:
        draft.write_text("ne")
        raise Cut
    assert real.read_text() == "old"
    with replacing(link) as draft:
        draft.write_text("new")
    assert real.read_text() == "new" and link.is_symlink() and real.stat().st_mode & 0o777 == 0o640
    assert sorted(tmp_path.iterdir()) == [link, real]


def test_a_full_disk_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "t.yaml"
    path.write_text("old")
    with pytest.raises(at.ConfigError, match="cannot write .*No space left"), replacing(path):
        raise OSError(28, "No space left on device")
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]


def test_throughputs_are_written_where_they_can_be(tmp_path: Path) -> None:
    measured: list[Measured] = []
    with pytest.raises(at.ConfigError, match="cannot write"):
        write_throughput(tmp_path / "none" / "t.yaml", measured, environment="e", command="c")
    write_throughput(tmp_path / "t.yaml", measured, environment="e", command="c")
    assert yaml.safe_load((tmp_path / "t.yaml").read_text())["environment"] == "e"


@pytest.mark.parametrize("store", [":memory:", "sqlite://", "sqlite:///", "sqlite:///:memory:"])
@pytest.mark.parametrize("command", [
    "search minihop-recorded --method random --trials 2", "compare minihop-recorded --methods random --trials 2",
    "record minihop-recorded table.csv",
])  # fmt: skip
def test_nothing_is_paid_for_that_no_store_would_keep(
    store: str, command: str, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = require_one_sentence(f"{command} --store {store}", monkeypatch)
    assert "would lie in memory" in said and list(here.iterdir()) == []


def test_a_folder_of_files_with_any_names_is_looked_through(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with closing(Store("a b%41?#.db")):
        pass
    os.rename(b"a b%41?#.db", b"\xff\x1b[31m%41?#.db")
    ended = run("studies", monkeypatch)
    assert ended.code == 0 and ended.err.startswith("reading \\udcff\\x1b[31m%41?#.db") and "\x1b" not in ended.err


ROW = '{"id": "a", "q": "x", "gold": "x"}\n'
DATA: dict[str, tuple[bytes, str]] = {
    "deep": (b'{"q": ' + b"[" * 100_000, "more than 64 levels"),
    "deep and closed": (b'{"q": ' + b"[" * 900 + b"]" * 900 + b"}", "more than 64 levels"),
    "huge int": (b'{"q": ' + b"9" * 5000 + b"}", "a number of 5,000 digits"),
    "a list": (b"[1]", "found list"),
    "utf-16": (ROW.encode("utf-16"), "is not UTF-8 text"),
    "nul": (b"\0" + ROW.encode(), "not valid JSON"),
    "two on a line": (ROW.strip().encode() * 2, "not valid JSON"),
    "one id twice": (ROW.encode() * 2, "two examples have the same id"),
    "nothing": (b"\n\n", "has no examples"),
}


@pytest.mark.parametrize("name", DATA)
def test_hostile_examples_are_one_sentence(name: str, here: Path) -> None:
    content, message = DATA[name]
    (here / "rows.jsonl").write_bytes(content)
    with pytest.raises(at.ConfigError, match=message):
        at.LiveEnvironment(_pipeline(), "rows.jsonl")


@pytest.mark.parametrize("path", ["/dev/zero", "/dev/null", "pipe", "loop", ".", "a\0b", "\ud800", "n" * 300, ""])
def test_what_is_no_file_of_examples_is_one_sentence(path: str, here: Path) -> None:
    os.mkfifo(here / "pipe")
    (here / "loop").symlink_to("loop")
    with pytest.raises(at.ConfigError, match="regular file|cannot read the examples file"):
        at.LiveEnvironment(_pipeline(), path)


def _nested() -> list[Any]:
    found: list[Any] = []
    found.append(found)
    return found


@pytest.mark.parametrize("rows", [["a"], [None], [7], [["id"]], {"id": "1", "q": "x"}, [{"q": _nested()}]], ids=repr)
def test_examples_that_are_none_are_one_sentence(rows: Any) -> None:
    with pytest.raises(at.ConfigError, match="example 1.* must be a mapping|example 1: .*more than 64 levels"):
        at.LiveEnvironment(_pipeline(), rows)


def test_a_file_of_examples_may_begin_with_a_mark_and_end_its_lines_in_any_way(here: Path) -> None:
    for end in ("\n", "\r\n", "\r"):
        (here / "rows.jsonl").write_bytes(("\ufeff" + ROW + ROW.replace("a", "b")).replace("\n", end).encode())
        assert at.LiveEnvironment(_pipeline(), "rows.jsonl").examples == ("a", "b")


@pytest.mark.parametrize("content", ["[" * 100_000, '{"a": ' + "9" * 5000 + "}", '[{"q": ' + "9" * 5000 + "}]"])
@pytest.mark.parametrize("task", ["hotpotqa", "chatdev"])
def test_hostile_data_of_a_task_are_one_sentence(
    task: str, content: str, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (here / "data.json").write_text(content)
    require_one_sentence(f"search {task} --data data.json --method random --trials 1", monkeypatch)


async def test_an_example_may_have_fields_that_are_no_names() -> None:
    rows: list[Any] = [{"id": "1", "q": "x", "gold": "x", 7: "seven", "": 1, "a b": 2, "self": 3}]
    client = ScriptedClient(lambda model, messages, position: messages[-1]["content"])
    async with at.LiveEnvironment(_pipeline(), rows, client=client) as entered:
        assert (await entered.evaluate(at.Allocation({"s": ("m", 1)}))).score == 1
