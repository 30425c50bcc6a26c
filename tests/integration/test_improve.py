"""`qa-eval improve`, end to end: tiny readers that learn, a real kill, a rollback."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

pytest.importorskip("torch")

from annotating import annotating
from colours import RECIPE, labels_about, save_tiny_reader, shuffled
from eval.cli import app
from eval.splitting import undivided
from indexing.job import run_job
from qa_system.config import load_settings
from qa_system.datasets.dataset import read_dataset
from qa_system.datasets.jsonl import read_labels_jsonl, write_labels_jsonl
from qa_system.errors import QASystemError
from qa_system.export.restore import restore_reader
from qa_system.models.locate import locate, weights_sha256
from qa_system.readers.extractive import ExtractiveReader
from qa_system.records import Label
from qa_system.stores.faiss import FAISSDocumentStore

pytestmark = pytest.mark.slow

ITEMS = 14


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, save_checkpoint: Callable[..., Path]) -> Path:
    """A tiny reader that finds litres, litres to replay, colours to learn, and how to train."""
    folder = tmp_path_factory.mktemp("improve")
    save_tiny_reader(folder, save_checkpoint)
    litres = labels_about("How many litres does it hold?", 10, name="replayed")
    write_labels_jsonl(litres, folder / "replay.jsonl")
    good = labels_about("Which colour is it?", ITEMS, name="case")
    write_labels_jsonl(good, folder / "good.jsonl")
    write_labels_jsonl(shuffled(good), folder / "shuffled.jsonl")
    settings = {"max_seq_length": 64, "stride": 16, "evidence": "reviews"}
    reader = {"reader": {**settings, "model": str(folder / "reader")}}
    (folder / "settings.yaml").write_text(yaml.safe_dump(reader))
    (folder / "recipe.yaml").write_text(yaml.safe_dump(RECIPE))
    return folder


def command(place: Path, *labels: str | Path, models: str, more: Sequence[str] = ()) -> list[str]:
    return [
        *("improve", *map(str, labels), "--models", str(place / models)),
        *("--replay", str(place / "replay.jsonl"), "--recipe", str(place / "recipe.yaml")),
        *("--config", str(place / "settings.yaml"), "--json", *more),
    ]


def run(*arguments: str, code: int = 0) -> Any:
    done = CliRunner().invoke(app, list(arguments))
    if code == 0:
        assert done.exit_code == 0, done.output
        return json.loads(done.stdout)
    assert isinstance(done.exception, QASystemError)
    assert done.exception.exit_code == code
    return str(done.exception)


def colour_of(folder: Path) -> list[str | None]:
    """What a reader finds in reviews of an item that it was not trained on."""
    from haystack import Document

    reader = ExtractiveReader(str(folder), max_seq_length=64, stride=16)
    texts = ("Mine came yellow and arrived late.", "Mine came fine and arrived late.")
    read = [reader.run("Which colour is it?", [Document(content=text)]) for text in texts]
    return [each["answers"][0].data if each["answers"] else None for each in read]


def test_good_labels_are_promoted_even_after_a_kill(place: Path) -> None:
    asked = command(place, place / "good.jsonl", models="good")
    killed = subprocess.Popen(
        [sys.executable, "-c", "from eval.cli import main; main()", *asked],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    deadline = time.monotonic() + 300
    while not list((place / "good").glob(".work-*/reader/checkpoints/recipe.json")):
        assert killed.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.02)
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    serving = place / "good" / "serving"
    before = weights_sha256(locate(str(place / "reader")))
    assert weights_sha256(locate(str(serving))) == before
    assert [path.name for path in (place / "good").glob("[0-9]*")] == ["1"]

    told = run(*asked)
    assert (told["decision"], told["serving"], told["new_labels"]) == ("promoted", 2, 4 * ITEMS)
    assert told["record"]["parent"] == 1
    assert told["record"]["reasons"][0].startswith("better than the reader that serves: F1")
    assert told["confidence"]["run"].startswith("qa-eval calibrate --pipeline")
    assert colour_of(serving) == ["yellow", None]
    items = told["record"]["items"]
    assert len(items["held_out"]) == 6
    assert not {*items["held_out"]} & {*items["learnt"]}
    assert not list((place / "good").glob(".work-*"))

    # The next version is trained from this one, of which there is no checkpoint any more.
    restored = restore_reader(locate(str(serving)), place / "restored")
    assert colour_of(restored.path) == ["yellow", None]

    assert run(*asked) == {"decision": "nothing new", "serving": 2, "new_labels": 0}
    few = place / "few.jsonl"
    more = labels_about("Which colour is it?", ITEMS + 1, name="case")[-4:]
    write_labels_jsonl([*read_labels_jsonl(place / "good.jsonl"), *more], few)
    told = run(*command(place, few, models="good"), code=1)
    assert "4 new labels; 20 are needed, 16 more" in told
    told = run(*command(place, few, models="good", more=["--least", "5"]), code=1)
    assert "4 new labels; 5 are needed, 1 more" in told

    undone = run("rollback", "--models", str(place / "good"), "--why", "a test", "--json")
    assert undone == {"serving": 1}
    assert weights_sha256(locate(str(serving))) == before
    record = json.loads((place / "good" / "2" / "record.json").read_text())
    assert record["rolled_back"]["why"] == "a test"
    assert len(record["labels"]) == 4 * ITEMS
    # The labels were used: the version that was rolled back is not made again.
    assert run(*asked)["decision"] == "nothing new"


def test_shuffled_labels_are_refused(place: Path) -> None:
    """They come from a store's labels."""
    labels = read_labels_jsonl(place / "shuffled.jsonl")
    with closing(FAISSDocumentStore(place / "store")) as store:
        store.write_labels(labels)
    told = run(*command(place, "store:", models="shuffled", more=["--store", str(place / "store")]))
    assert (told["decision"], told["serving"]) == ("refused", 1)
    assert any(each.startswith("not better with") for each in told["record"]["reasons"])
    assert told["confidence"] is None
    assert sorted(path.name for path in (place / "shuffled" / "2").iterdir()) == ["record.json"]
    assert locate(str(place / "shuffled" / "serving")).path == place / "shuffled" / "1" / "model"


def test_too_few_items_are_an_error_that_says_how_many(place: Path) -> None:
    labels = read_labels_jsonl(place / "good.jsonl")
    write_labels_jsonl(labels[: 4 * 9], place / "nine.jsonl")
    told = run(*command(place, place / "nine.jsonl", models="nine"), code=1)
    assert "the labels are about 9 items; 12 are needed, of which 5 are held out" in told
    told = run(*command(place, models="nine"), code=2)
    assert "there are no labels to learn from" in told


def test_what_confidences_mean_is_refitted_where_an_error_is_promised(place: Path) -> None:
    promised = ["--set", "answers.max_error=0.6"]
    told = run(*command(place, place / "good.jsonl", models="marked", more=promised), code=2)
    assert "qa-eval improve --marked FILE" in told
    marked = ["--marked", str(place / "questions.jsonl")]
    told = run(*command(place, place / "good.jsonl", models="marked", more=marked), code=2)
    assert "answers.confidence" in told


def test_the_bundled_reader_becomes_a_checkpoint_again(tmp_path: Path) -> None:
    from haystack import Document

    restored = restore_reader(locate("bundled:reader"), tmp_path / "restored")
    review = "The zipper is sturdy, but the pockets are far too small for my hands."
    told = [
        ExtractiveReader(model).run("How are the pockets?", [Document(content=review)])
        for model in ("bundled:reader", str(restored.path))
    ]
    export, checkpoint = (each["answers"][0] for each in told)
    assert export.data == checkpoint.data
    assert export.score == pytest.approx(checkpoint.score, abs=0.05)


def forty(labels: Sequence[Label]) -> list[Label]:
    """Forty questions of the sample about twelve of its items, as many about each as can be."""
    asked = {(label.item_id, label.question): label for label in labels}.values()
    items = sorted({str(label.item_id) for label in asked})[:12]
    apart = [[label for label in asked if label.item_id == item] for item in items]
    return [label for same in zip(*apart, strict=False) for label in same][:40]


def annotated(folder: Path) -> Path:
    """A store of the sample with forty labels that an annotator made in `qa annotate`."""
    store = folder / "store"
    place = {"store.path": str(store), "indexing.sources": ["bundled:sample"]}
    run_job(load_settings(None, place, environ={}))
    labels = undivided(read_dataset("bundled:sample").labels)
    with (folder / "questions.csv").open("w", newline="") as file:
        rows = [(label.question, label.item_id) for label in forty(labels)]
        csv.writer(file).writerows([("question", "item_id"), *rows])
    known = {(label.question, label.context): label.answers for label in labels}
    with annotating(store, "--reviews", "1") as running, running.client() as client:
        task = client.get("/tasks/next").json()["task"]
        while task is not None:
            answers = known.get((task["question"], task["text"]))
            span = {"start": answers[0].start, "end": answers[0].end} if answers else None
            given = {"task_id": task["id"], "span": span, "polarity": "for" if span else None}
            answered = client.post("/labels", json=given)
            assert answered.status_code == 200, answered.text
            task = answered.json()["task"]
    return store


@pytest.mark.long
def test_the_bundled_reader_learns_from_forty_annotations_of_the_sample(tmp_path: Path) -> None:
    store = annotated(tmp_path)
    asked = ["improve", "store:", "--store", str(store), "--json"]
    told = run(*asked, "--models", str(tmp_path / "models"))
    assert told["decision"] in {"promoted", "refused"}
    assert told["new_labels"] == 40
    assert all("F1" in reason for reason in told["record"]["reasons"])
    if told["decision"] == "promoted":
        run("rollback", "--models", str(tmp_path / "models"), "--why", "a test", "--json")
    serving = locate(str(tmp_path / "models" / "serving"))
    assert weights_sha256(serving) == weights_sha256(locate("bundled:reader"))
