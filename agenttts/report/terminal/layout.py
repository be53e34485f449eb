"""Tables that fit the terminal without cutting a cell.

Where a table is too wide, its headings are wrapped first; then columns are left out, the least important first, and a
last line names them; then the next layout is tried. What is too wide even so is folded, never shortened.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderResult
from rich.table import Table
from rich.text import Text

from agenttts._util.text import printable

_GAP = 2


@dataclass(frozen=True, kw_only=True)
class Column:
    """One column of a table."""

    heading: str
    cells: Sequence[str]
    number: bool = False
    """Whether it is set flush right."""
    rank: int = 0
    """The column of the highest rank is left out first; one of rank 0 always stays."""

    @property
    def width(self) -> int:
        """The least that shows every cell and every word of the heading whole."""
        lines = [line for cell in self.cells for line in printable(cell).splitlines()]
        return max(map(cell_len, [*lines, *self.heading.split()]), default=0)


class Listing:
    """A table in one or several layouts, with notes below it.

    Args:
        layouts: The preferred one first; each holds the columns in order.
        notes: Sentences that the figures cannot be read without.
        whole: What has every column, where some are left out.
    """

    def __init__(self, *layouts: Sequence[Column], notes: Sequence[str] = (), whole: str = "--json") -> None:
        self._layouts, self._whole = layouts, whole
        self._notes = notes

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        width = options.max_width
        fitting = (layout for layout in self._layouts if _narrowest([c for c in layout if not c.rank]) <= width)
        layout = next(fitting, self._layouts[-1])
        shown = list(layout)
        while _narrowest(shown) > width and any(column.rank for column in shown):
            shown.remove(max(shown, key=lambda column: column.rank))
        yield _table(shown, wrap=_widest(shown) > width)
        if hidden := [column.heading for column in layout if column not in shown]:
            yield Text(f"(too narrow for: {', '.join(hidden)}; {self._whole} has everything)", style="dim")
        for note in self._notes:
            yield Text(note)


def _table(columns: Sequence[Column], *, wrap: bool) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(
            column.heading,
            justify="right" if column.number else "left",
            overflow="fold",
            # Numbers keep their width; only words may be folded where nothing else helps.
            width=column.width if wrap and column.number else None,
            max_width=column.width if wrap else None,
        )
    for row in zip(*(column.cells for column in columns), strict=True):
        table.add_row(*(Text(printable(cell)) for cell in row))
    return table


def _narrowest(columns: Sequence[Column]) -> int:
    return sum(column.width for column in columns) + _GAP * (len(columns) - 1)


def _widest(columns: Sequence[Column]) -> int:
    headings = [max(column.width, cell_len(column.heading)) for column in columns]
    return sum(headings) + _GAP * (len(columns) - 1)
