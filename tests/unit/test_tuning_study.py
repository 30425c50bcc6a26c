"""Searches over a training whose scores are known: shared, stopped, pruned, failed."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import orjson
import pytest

import known_training as known
from qa_system.errors import ConfigError, ModelError
from qa_system.training.tuning import study
from qa_system.training.tuning.study import tune


@pytest.fixture(autouse=True)
def trainer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(study, "trainer_of", lambda _: known.train)


def begun(out: Path, trials: int, fatal: int = -1) -> "subprocess.Popen[bytes]":
    words = [sys.executable, known.__file__, out, trials, fatal]
    return subprocess.Popen(list(map(str, words)), stderr=subprocess.PIPE)


def values(record: dict[str, Any]) -> list[tuple[Any, ...]]:
    return [(each["number"], each["state"], each["values"]) for each in record["trials"]]


def test_processes_share_a_search_and_a_killed_ones_trial_is_taken_up(tmp_path: Path) -> None:
    whole = tune(known.search(), tmp_path / "whole", trials=8, pruner="none")
    assert whole["trials"][0]["values"] == {"dropout": 0.5}
    assert whole["best"]["value"] == max(each["value"] for each in whole["trials"]) > 0.5
    out = tmp_path / "shared"
    killed = begun(out, 6, fatal=2)
    assert killed.wait() == -9
    running = orjson.loads((out / "study.json").read_bytes())
    assert running["counts"]["complete"] == 2
    both = [begun(out, 6), begun(out, 6)]
    for each in both:
        assert each.wait() == 0, each.stderr.read()
    for each in (killed, *both):
        each.stderr.close()
    record = tune(known.search(), out, trials=6)
    assert [each["number"] for each in record["trials"]] == list(range(6))
    assert record["counts"] == {"complete": 6, "pruned": 0, "failed": 0, "running": 0}
    assert len({each["values"]["dropout"] for each in record["trials"]}) == 6
    # What was chosen before it was shared is what one process chose.
    assert values(record)[:4] == values(whole)[:4]


def test_a_trial_that_kills_its_process_is_given_up(tmp_path: Path) -> None:
    """As one does for which there is not enough memory."""
    for _ in range(3):
        with begun(tmp_path, 2, fatal=0) as each:
            assert each.wait() == -9
    record = tune(known.search(), tmp_path, trials=2)
    assert [each["state"] for each in record["trials"]] == ["failed", "complete"]
    assert record["trials"][0]["error"].startswith("3 processes ended in this trial")


def test_failed_trials_are_named_and_bad_ones_end_early(tmp_path: Path) -> None:
    asked = known.search(with_patience=True)
    record = tune(asked, tmp_path, trials=16, startup=1)
    assert sum(record["counts"].values()) == 16
    assert min(record["counts"][state] for state in ("complete", "pruned", "failed")) > 0
    firsts: list[float] = []
    for each in record["trials"]:
        assert (each["error"] == "there is no such model") == (each["values"]["patience"] == 4)
        if each["state"] == "pruned":
            # Worse at the first measurement than half of those that were complete by then.
            assert len(each["measured"]) == 1
            assert each["measured"][0] < sorted(firsts)[len(firsts) // 2]
        if each["state"] == "complete":
            firsts.append(each["measured"][0])
    more = tune(asked, tmp_path, trials=17, startup=1)
    assert values(more)[:16] == values(record)
    with pytest.raises(ConfigError, match="a search with another recipe, another seed"):
        tune(known.search(with_patience=True, epochs=9), tmp_path, trials=17, startup=1, seed=5)
    kept = [path.parent.name for path in tmp_path.glob("trials/*/model.safetensors")]
    assert kept == [f"{more['best']['number']:04d}"]


def test_a_search_in_which_every_trial_fails_says_why(tmp_path: Path) -> None:
    asked = known.search(patience=4)
    with pytest.raises(ModelError, match="none of 2 trials was completed: there is no such model"):
        tune(asked, tmp_path / "all", trials=2)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "notes.txt").touch()
    with pytest.raises(ConfigError, match="no search was begun"):
        tune(asked, tmp_path / "other", trials=2)
