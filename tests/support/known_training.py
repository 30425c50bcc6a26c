"""A training whose scores are known, so that a search over it takes no time.

Run as a program it searches in a folder, and may be killed in a trial.
"""

import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

from qa_system.errors import ModelError
from qa_system.training import run
from qa_system.training.recipes import ReaderTraining
from qa_system.training.tuning import study
from qa_system.training.tuning.space import Dimension, Search

TREE = {"model": "start", "train": [], "dev": [], "dropout": 0.5}
SPACE = {
    "dropout": Dimension(type="float", low=0, high=1),
    "patience": Dimension(type="categorical", choices=(3, 4)),
}


def train(recipe: ReaderTraining, folder: Path) -> dict[str, Any]:
    """Measure 0.1, and then what the dropout is; a patience of 4 has no such model."""
    folder.mkdir(parents=True, exist_ok=True)
    if recipe.patience == 4:
        raise ModelError("there is no such model")
    watch = run._WATCH.get()
    assert watch is not None
    for number, score in enumerate((0.1 * recipe.dropout, recipe.dropout), start=1):
        watch(number, "f1", score)
        time.sleep(0.05)
    (folder / "model.safetensors").touch()
    (folder / "training.json").touch()
    return {}


def search(with_patience: bool = False, **tree: Any) -> Search:
    """Return a search over the dropout, and over the patience if it is asked for."""
    space = SPACE if with_patience else {"dropout": SPACE["dropout"]}
    return Search("reader", {**TREE, **tree}, space)


def main() -> None:
    """Search in a folder until there are so many trials; be killed in the trial of a number."""
    out, trials, fatal = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])

    def killed(recipe: ReaderTraining, folder: Path) -> dict[str, Any]:
        if folder.name == f"{fatal:04d}":
            os.kill(os.getpid(), signal.SIGKILL)
        return train(recipe, folder)

    study.trainer_of = lambda _: killed
    study.tune(search(), out, trials=trials)


if __name__ == "__main__":
    main()
