"""How long a command line takes to say hello: the median of several cold processes.

python -m benchmarks.startup
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from statistics import median
from time import perf_counter

BAR = 0.4
RUNS = 7
BIN = Path(sys.executable).parent
COMMANDS = {
    "qa --help": [str(BIN / "qa"), "--help"],
    "qa-index --help": [str(BIN / "qa-index"), "--help"],
    "qa-eval --help": [str(BIN / "qa-eval"), "--help"],
    'python -c "import qa_system"': [sys.executable, "-c", "import qa_system"],
}


def seconds(command: list[str]) -> float:
    start = perf_counter()
    subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
    return perf_counter() - start


def main() -> int:
    """Print the table; give 1 if the bar is missed."""
    missed = 0
    for name, command in COMMANDS.items():
        seconds(command)
        took = median(seconds(command) for _ in range(RUNS))
        missed += took > BAR
        verdict = "reached" if took <= BAR else "MISSED"
        print(f"{name:<30} {took:.2f} s   bar {BAR} s: {verdict}")
    return min(missed, 1)


if __name__ == "__main__":
    sys.exit(main())
