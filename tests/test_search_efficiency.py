"""benchmarks/search_efficiency.py: it runs, and its table has what was asked for."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).parent.parent / "benchmarks" / "search_efficiency.py"
ROW = re.compile(r"\| (\S+) \| (0\.\d{4}) ± nan \| .* \| 1 of 1 \| [\d.]+ \|")


def test_methods_are_measured_on_a_problem_without_noise() -> None:
    command = [sys.executable, str(SCRIPT), "--families", "exact", "--methods", "random", "random+"]
    command += ["--seeds", "1", "--last", "250", "--processes", "1"]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    rows = [match.groups() for line in printed.splitlines() if (match := ROW.fullmatch(line))]
    assert sorted(name for name, _ in rows) == ["random", "random+"]
    assert "2 runs in " in printed
