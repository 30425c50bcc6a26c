"""The context from which the Dockerfile builds: what git has and .dockerignore leaves."""

import fnmatch
import shutil
import subprocess
from pathlib import Path


def ignored(root: Path, name: str) -> bool:
    """Whether `.dockerignore` leaves a file out; its last line that fits counts."""
    left_out = False
    for line in (root / ".dockerignore").read_text().splitlines():
        if not line or line.startswith("#"):
            continue
        pattern = line.removeprefix("!").removeprefix("**/")
        parts = Path(name).parts
        candidates = ["/".join(parts[: at + 1]) for at in range(len(parts))]
        if line.startswith("**/"):
            candidates = list(parts)
        if any(fnmatch.fnmatchcase(each, pattern) for each in candidates):
            left_out = not line.startswith("!")
    return left_out


def context(root: Path, folder: Path) -> Path:
    """Copy the context into a folder, and return its path."""
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=root, capture_output=True, text=True, check=True
    )
    target = folder / "context"
    for name in filter(None, listed.stdout.split("\0")):
        if (root / name).is_file() and not ignored(root, name):
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(root / name, target / name)
    return target
