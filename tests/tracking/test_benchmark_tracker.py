"""tools/benchmark_tracker.py measures what its table says."""

import re
import subprocess
import sys
from pathlib import Path

TOOL = Path(__file__).parents[2] / "tools" / "benchmark_tracker.py"


def test_the_table_has_a_time_for_every_pair_of_counts_and_known_objects_are_continued():
    sizes = ["--detections", "3", "40", "--tracks", "5", "30", "--frames", "3", "--channels", "64"]
    command = [sys.executable, str(TOOL), *sizes]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    rows = [line.split("|")[1:-1] for line in done.stdout.splitlines() if re.match(r"\| \d", line)]
    assert [row[0].strip() for row in rows] == ["3", "40"]
    cells = [[re.fullmatch(r" ([\d.]+) \((\d+)\) ", cell).groups() for cell in row[1:]] for row in rows]
    assert all(0 < float(time) < 1000 for row in cells for time, _ in row)
    assert [[int(continued) for _, continued in row] for row in cells] == [[3, 3], [5, 30]]
