"""Tables fit the terminal, and never cut a cell that always stays."""

from __future__ import annotations

import io

from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from agenttts.report.terminal.layout import Column, Listing

cells = st.text("abcx0123456789.-", min_size=1, max_size=12)


def printed(listing: Listing, width: int) -> list[str]:
    console = Console(file=io.StringIO(), width=width)
    console.print(listing)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue().splitlines()


@given(st.lists(st.tuples(cells, cells, cells), min_size=1, max_size=5), st.integers(26, 120))
def test_what_always_stays_is_whole_at_every_width(rows: list[tuple[str, str, str]], width: int) -> None:
    names, scores, details = zip(*rows, strict=True)
    listing = Listing(
        [
            Column(heading="name", cells=names),
            Column(heading="some figure", cells=details, number=True, rank=1),
            Column(heading="score", cells=scores, number=True),
        ]
    )
    lines = printed(listing, width)
    assert all(len(line) <= width for line in lines)
    shown = [line.split() for line in lines if line.strip()]
    assert all([name, score] in ([row[0], row[-1]] for row in shown if row) for name, score, _ in rows)


def listing() -> Listing:
    number = Column(heading="trial", cells=["1"], number=True)
    score = Column(heading="score on examples", cells=["0.500"], number=True)
    reused = Column(heading="reused", cells=["1,234"], number=True, rank=1)
    stages = [Column(heading=name, cells=["model-of-this-stage x16"]) for name in ("retrieve", "answer")]
    stacked = Column(heading="allocation", cells=["retrieve: model x16\nanswer: model x16"])
    return Listing([number, *stages, score, reused], [number, stacked, score, reused])


def test_a_narrow_terminal_gets_wrapped_headings_then_fewer_columns_then_the_next_layout() -> None:
    wide, wrapped, fewer, stacked = (printed(listing(), width) for width in (100, 76, 68, 60))
    assert wide[0].split() == ["trial", "retrieve", "answer", "score", "on", "examples", "reused"] and len(wide) == 2
    assert wrapped[-1].split()[-1] == "1,234" and len(wrapped) > 2
    assert "1,234" not in "".join(fewer) and fewer[-1] == "(too narrow for: reused; --json has everything)"
    assert "x16 model-of" in " ".join(" ".join(fewer).split())
    assert any(line.split() == ["1", "retrieve:", "model", "x16", "0.500", "1,234"] for line in stacked)


def test_a_note_stands_below_the_table() -> None:
    noted = Listing([Column(heading="a", cells=["1"])], notes=["Read with care."])
    assert printed(noted, 80) == ["a", "1", "Read with care."]
