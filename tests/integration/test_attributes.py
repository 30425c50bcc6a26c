"""`qa attributes` and `qa-eval attributes` on a small store: rows, a cut file, another run."""

import csv
import json

import pytest
from haystack import Document
from typer.testing import CliRunner

import eval.cli
import qa_system.cli
from qa_system.config import load_settings
from qa_system.errors import ConfigError, UnknownItemError
from qa_system.stores import open_store

pytestmark = pytest.mark.slow

REVIEWS = {
    "r1": ("lamp", "The light is bright enough for reading in bed. It weighs 1.2 kg."),
    "r2": ("lamp", "It weighs 1200 grams, which is heavy for a lamp."),
    "r3": ("jacket", "The zipper broke after a week. The colour is a dark green."),
}
SPECIFICATION = """
attributes:
  weight:
    type: number
    unit: g
    questions: ["How much does it weigh?"]
    items: ["la*"]
  colour:
    questions: ["What colour is it?"]
"""
LABELS = [
    {"item_id": "lamp", "attribute": "weight", "values": [1200], "passes": [[1200], [1200]]},
    {"item_id": "lamp", "attribute": "colour", "values": [], "passes": [[], ["green"]]},
    {"item_id": "jacket", "attribute": "colour", "values": ["a dark green"]},
]
PLACES = [("jacket", "colour"), ("lamp", "weight"), ("lamp", "colour")]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("attributes")
    over = {"store.path": str(folder / "store"), "retriever.mode": "bm25"}
    with open_store(load_settings(None, over, environ={}).store, create=True) as store:
        store.write_documents(
            [
                Document(id=id_, content=text, meta={"review_id": id_, "item_id": item})
                for id_, (item, text) in REVIEWS.items()
            ]
        )
    (folder / "attributes.yaml").write_text(SPECIFICATION)
    (folder / "labels.jsonl").write_text("\n".join(map(json.dumps, LABELS)))
    return folder


def run(app, folder, *arguments, code=0):
    """Run a command; return its report, or the error that it ended with."""
    common = ["--store", str(folder / "store"), "--set", "retriever.mode=bm25", "--json"]
    done = CliRunner().invoke(
        app, ["attributes", str(folder / "attributes.yaml"), *arguments, *common]
    )
    if code:
        assert done.exception is not None
        return done.exception
    assert done.exit_code == 0, (done.exception, done.output)
    return json.loads(done.stdout)


def test_a_row_for_each_item_and_attribute_and_a_job_goes_on_where_it_was(folder, tmp_path):
    out, journal = tmp_path / "found.csv", tmp_path / "found.csv.jsonl"
    report = run(qa_system.cli.app, folder, "--out", str(out))
    assert (report["rows"], report["items"], report["resumed"], report["errors"]) == (3, 2, 0, 0)
    table = list(csv.DictReader(out.read_text().splitlines()))
    assert [(row["item_id"], row["attribute"]) for row in table] == PLACES
    weight = table[1]
    assert (weight["value"], weight["unit"], weight["status"]) == ("1200.0", "g", "said")
    assert (weight["support"], weight["share"]) == ("2", "1.000")
    assert set(weight["reviews"].split()) == {"r1", "r2"}
    lines = [json.loads(line) for line in journal.read_bytes().splitlines()]
    for quote in lines[1]["quotes"]:
        text = REVIEWS[quote["review_id"]][1]
        assert text[quote["start"] : quote["end"]] == quote["text"]
    said = [line["status"] for line in lines]
    assert [said.count(name) for name in ("said", "unsure", "not_said")] == [
        report[name] for name in ("said", "unsure", "not_said")
    ]

    whole, content = journal.read_bytes(), out.read_bytes()
    for cut in (len(whole) - 1, whole.index(b"\n") + 40, 5, 0):
        journal.write_bytes(whole[:cut])
        out.unlink()
        again = run(qa_system.cli.app, folder, "--out", str(out))
        assert again["resumed"] == whole[:cut].count(b"\n")
        assert (journal.read_bytes(), out.read_bytes()) == (whole, content)

    other = run(qa_system.cli.app, folder, "--out", str(out), "--item", "lamp", code=2)
    assert isinstance(other, ConfigError)
    assert "the attributes (or --item, --max-error, --fitted) changed" in str(other)
    fewer = run(qa_system.cli.app, folder, "--out", str(out), "--item", "lamp", "--restart")
    assert (fewer["rows"], fewer["items"]) == (2, 1)
    lonely = run(qa_system.cli.app, folder, "--out", str(out), "--item", "mug", code=1)
    assert isinstance(lonely, UnknownItemError)


def test_values_are_compared_with_labels_and_an_error_that_few_labels_cannot_promise(
    folder, tmp_path
):
    fitted, rows = tmp_path / "fit.json", tmp_path / "rows.jsonl"
    given = ["--dataset", str(folder / "labels.jsonl"), "--resamples", "100"]
    found = run(eval.cli.app, folder, *given, "--write", str(fitted), "--rows", str(rows))
    assert found["parts"]["number"]["precision"]["mean"] == 1.0
    assert found["parts"]["all"]["labelled"] == 2
    assert found["agreement"] == {
        "labels": 2,
        "kappa_said": 0.0,
        "both_said": 1,
        "same_value": 1.0,
    }
    compared = [json.loads(line) for line in rows.read_bytes().splitlines()]
    assert next(each["right"] for each in compared) is True

    out = ["--out", str(tmp_path / "kept.jsonl"), "--fitted", str(fitted)]
    few = run(qa_system.cli.app, folder, *out, "--max-error", "0.1", code=2)
    assert isinstance(few, ConfigError)
    assert "no threshold keeps the error at 0.1" in str(few)
    tree = json.loads(fitted.read_bytes())
    outcomes = [[0.999, True]] * 40 + [[0.2, False]] * 40
    fitted.write_text(json.dumps({**tree, "outcomes": outcomes}))
    kept = run(qa_system.cli.app, folder, *out, "--max-error", "0.1")
    assert (kept["threshold"], kept["said"]) == (0.999, 0)
    assert kept["unsure"] >= 1
