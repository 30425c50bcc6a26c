"""Commands as somebody types them whose virtual environment is active."""

import os
import subprocess
import sys
from pathlib import Path

BASH = ("bash", "-euo", "pipefail", "-c")
PYTHON = (sys.executable, "-c")


def run(folder: Path, *command: str, **environ: str) -> str:
    """Run a command in a folder and return what it printed; it has to succeed."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, "PATH": path, **environ},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{command[-1]}\n{done.stdout[-2_000:]}{done.stderr[-4_000:]}"
    return done.stdout
