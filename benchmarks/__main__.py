"""Run every benchmark, one after the other, and say which bars were reached: `make bench`."""

from __future__ import annotations

import subprocess
import sys

SCRIPTS = (
    ("startup",),
    ("store",),
    ("store", "million"),
    ("reader",),
    ("compression",),
    ("generation",),
    ("precision",),
    ("retrieval_electronics",),
    ("harness",),
    ("sentences",),
    ("embedding",),
    ("evidence",),
    ("book_figures",),
    ("elasticsearch",),
    ("serve",),
)


def main() -> int:
    missed = []
    for script, *arguments in SCRIPTS:
        print(f"\n== {' '.join((script, *arguments))}", flush=True)
        command = [sys.executable, "-m", f"benchmarks.{script}", *arguments]
        if subprocess.run(command, check=False).returncode:
            missed.append(" ".join((script, *arguments)))
    print(f"\nBars missed or not measured in: {', '.join(missed) or 'none'}")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
