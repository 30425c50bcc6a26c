"""`qa-eval pooling` and `qa-eval map` on small data, as they are typed."""

import sys

import numpy as np
import orjson
import pytest

from eval import cli
from eval.tasks.embeddings.pooling import Measured, Retrieval
from eval.tasks.embeddings.variants import OWN, compare_variants
from qa_system.config import Settings
from qa_system.datasets.dataset import dataset_of
from qa_system.datasets.jsonl import write_labels_jsonl
from qa_system.embeddings import embed
from qa_system.embeddings.pooling import POOLINGS
from qa_system.embeddings.towers import _OnnxLayers
from qa_system.errors import ModelError
from qa_system.records import AnswerSpan, Label
from qa_system.retrievers.encoders import OnnxTower

pytestmark = pytest.mark.slow

TEXTS = {
    "camera": ("The zoom is sharp.", "The strap broke in a week.", "Battery lasts two days."),
    "kettle": ("It boils in a minute.", "The lid leaks when it pours.", "It is loud but quick."),
}
QUESTIONS = {
    "camera": ("Is the zoom any good?", "Does the strap hold?", "How long is the battery life?"),
    "kettle": ("How fast does it boil?", "Does the lid leak?", "Is it quiet?"),
}


def whole(text):
    return AnswerSpan(text, 0, len(text))


@pytest.fixture(scope="module")
def labels():
    return [
        Label(
            f"{item}-{at}", question, item, f"{item}-{at}", text, (AnswerSpan(text, 0, len(text)),)
        )
        for item, texts in TEXTS.items()
        for at, (question, text) in enumerate(zip(QUESTIONS[item], texts, strict=True))
    ]


@pytest.fixture(scope="module")
def files(tmp_path_factory, labels):
    folder = tmp_path_factory.mktemp("data")
    write_labels_jsonl(labels, folder / "labels.jsonl")
    lines = [
        orjson.dumps({"review_id": f"{item}-{at}", "item_id": item, "text": text, "stars": at + 3})
        for item, texts in TEXTS.items()
        for at, text in enumerate(texts)
    ]
    (folder / "reviews.jsonl").write_bytes(b"\n".join(lines))
    return folder


@pytest.fixture
def qa_eval(monkeypatch, capsys):
    def call(*args, status=0):
        capsys.readouterr()
        monkeypatch.setattr(sys, "argv", ["qa-eval", *map(str, args)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        said = capsys.readouterr()
        assert bool(ended.value.code) == bool(status), said.err
        return said.err if status else said.out

    return call


def task_of(labels):
    data = dataset_of("made-up", labels)
    return Retrieval.of(data.labels, data.reviews, resamples=100)


class Vectors:
    """A task that keeps the vectors that it is given."""

    kind, primary, questions = "kept", "none", ("Is it good?",)
    passages = ("It is good, and it is small.", "Good.", "", "Not that good at all!")

    def __init__(self):
        self.seen = []

    def counts(self):
        return {}

    def measure(self, questions, passages):
        self.seen.append((questions, passages))
        return Measured({"none": 0.0}, {"none": None})


def check_vectors(settings, model, poolings, layers, numbers):
    task = Vectors()
    report = compare_variants(task, settings, poolings=poolings, layers=layers, normalize=False)
    by_name = dict(zip(report["rows"], task.seen, strict=True))
    np.testing.assert_allclose(by_name[OWN][1], embed(task.passages, model), atol=1e-5)
    for at, pooling in enumerate(poolings):  # each pooling on one of the layers, in turn
        layer, number = layers[at % len(layers)], numbers[at % len(layers)]
        questions, passages = by_name[f"{pooling}, layer {number}"]
        given = {"pooling": pooling, "layer": layer, "normalize": False}
        np.testing.assert_allclose(passages, embed(task.passages, model, **given), atol=1e-5)
        asked = embed(task.questions, model, role="question", **given)
        np.testing.assert_allclose(questions, asked, atol=1e-5)
    assert not by_name[f"{poolings[0]}, layer {numbers[0]}"][1][2].any()


def test_every_pooling_and_layer_is_what_embed_makes():
    check_vectors(Settings(), "bundled:encoder", tuple(POOLINGS), (0, 3, -1), (0, 3, 6))


@pytest.mark.long
def test_the_layers_of_a_checkpoint(tmp_path, save_checkpoint):
    import torch
    from transformers import BertConfig, BertModel

    torch.manual_seed(3)
    sizes = {"hidden_size": 16, "num_attention_heads": 2, "intermediate_size": 32}
    model = str(save_checkpoint(BertModel(BertConfig(**sizes, num_hidden_layers=2)), tmp_path))
    settings = Settings.model_validate({"encoder": {"model": model, "device": "cpu"}})
    check_vectors(settings, model, ("mean", "last"), (0, 1, 2), (0, 1, 2))
    check_vectors(settings, model, ("pooler",), (-1,), (2,))


def test_a_text_is_read_once_for_all(monkeypatch, labels):
    """However many poolings and layers are compared, the model reads as many texts."""
    read = []
    layers, own = _OnnxLayers._layers, OnnxTower.forward

    def seen(rows):
        if rows.shape[1] > 4:  # not the few tokens by which a model is tried
            read.append(len(rows))

    def of_layers(self, input_ids, mask):
        seen(input_ids)
        return layers(self, input_ids, mask)

    def of_own(self, input_ids, mask):
        seen(input_ids)
        return own(self, input_ids, mask)

    monkeypatch.setattr(_OnnxLayers, "_layers", of_layers)
    monkeypatch.setattr(OnnxTower, "forward", of_own)
    task = task_of(labels)
    for poolings, numbers in [(("mean",), (6,)), (None, None)]:
        read.clear()
        report = compare_variants(task, Settings(), poolings=poolings, layers=numbers)
        assert sum(read) == 2 * (len(task.questions) + len(task.passages))
    assert len(report["rows"]) == 1 + 6 * 7


def test_a_model_that_does_not_show_its_layers_says_what_to_do(labels, monkeypatch):
    monkeypatch.setattr("qa_system.embeddings.towers.hidden_states", lambda *_: {})
    with pytest.raises(ModelError, match="does not show its layers"):
        compare_variants(task_of(labels), Settings())


def test_pooling_is_typed(qa_eval, files, tmp_path):
    page = tmp_path / "pooling.html"
    given = ["--dataset", files / "labels.jsonl", "--resamples", 100]
    given += ["--pooling", "mean", "cls", "--layer", 0, -1, "--dimensions", 32, "--dtype", "binary"]
    report = orjson.loads(qa_eval("pooling", *given, "--out", page, "--json"))
    assert list(report["rows"]) == [
        OWN,
        "mean, layer 0",
        "mean, layer 6",
        "cls, layer 0",
        "cls, layer 6",
    ]
    assert report["counts"] == {"questions": 6, "items": 2, "reviews": 6}
    own, mean = report["rows"][OWN], report["rows"]["mean, layer 6"]
    assert mean["metrics"] == own["metrics"]
    assert mean["difference"] == 0
    assert own["metrics"]["mrr"] > report["rows"]["cls, layer 0"]["metrics"]["mrr"]
    sizes = report["sizes"]["rows"]
    assert {name: row["bytes"] for name, row in sizes.items()} == {
        "384 dimensions, float32": 1536,
        "32 dimensions, float32": 128,
        "384 dimensions, binary": 48,
        "32 dimensions, binary": 4,
    }
    assert sizes["384 dimensions, float32"]["metrics"] == own["metrics"]
    written = page.read_text()
    assert written.count("<svg") == 2
    assert "mean, layer 6" in written
    assert "32 dimensions, binary" in written
    table = qa_eval("pooling", *given)
    assert "6 questions, 2 items, 6 reviews" in table
    assert "Smaller vectors" in table


def test_reviews_are_compared_with_a_field(qa_eval, files):
    given = ["--dataset", files / "labels.jsonl", "--against", "item", "--resamples", 100]
    given += ["--pooling", "mean", "--layer", -1]
    report = orjson.loads(qa_eval("pooling", *given, "--json"))
    assert report["kind"] == "clustering"
    assert report["counts"] == {"reviews": 6, "groups": 2}
    assert set(report["rows"][OWN]["metrics"]) == {"ami", "nmi", "silhouette"}
    assert "AMI" in qa_eval("pooling", *given)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["--pooling", "median"], "there is no pooling 'median'"),
        (["--layer", "9"], "has 6 layers, and no layer 9"),
        (["--pooling", "pooler"], "has no pooler"),
        (["--dtype", "int4"], "there is no dtype 'int4'"),
        (["--dimensions", "999"], "the vectors have 384 dimensions, and not 999"),
        (["--against", "colour"], "0 reviews have 0 values of 'colour'"),
        (["--out", "page.txt"], "a page is an HTML file"),
    ],
)
def test_pooling_refuses(qa_eval, files, given, said):
    given = ["--dataset", files / "labels.jsonl", "--resamples", 100, *given]
    if "--pooling" not in given:
        given += ["--pooling", "mean"]
    if "--layer" not in given and "pooler" not in given:
        given += ["--layer", "6"]
    assert said in qa_eval("pooling", *given, status=1)


def test_a_map_is_kept_and_applied(qa_eval, files, tmp_path):
    reviews, space = files / "reviews.jsonl", tmp_path / "space"
    page, picture = tmp_path / "new" / "map.html", tmp_path / "new" / "map.png"
    said = qa_eval(
        *("map", reviews, "--count", 2, "--out", page, "--png", picture, "--save", space)
    )
    assert "Map of 6 reviews" in said
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert "The lid leaks when it pours." in page.read_text()
    fitted = orjson.loads(qa_eval("map", reviews, "--count", 2, "--json"))
    assert [field["name"] for field in fitted["fields"]] == ["cluster", "rating", "item"]
    assert fitted["fields"][1]["values"] == ["3", "4", "5"]
    assert sum(size for _, size in fitted["clusters"]["sizes"]) == 6
    applied = orjson.loads(qa_eval("map", reviews, "--apply", space, "--json"))
    assert applied["x"] == pytest.approx(fitted["x"], abs=1e-4)
    assert applied["fields"][0] == fitted["fields"][0]
    # One review alone cannot be fitted, and has its place in what was.
    one = tmp_path / "one.jsonl"
    one.write_bytes(reviews.read_bytes().splitlines()[4])
    alone = orjson.loads(qa_eval("map", one, "--apply", space, "--json"))
    assert (alone["x"][0], alone["y"][0]) == pytest.approx(
        (fitted["x"][4], fitted["y"][4]), abs=1e-4
    )
    assert "fitting needs 2 or more" in qa_eval("map", one, "--json", status=1)
    said = qa_eval("map", reviews, "--apply", space, "--layer", 3, "--json", status=1)
    assert "the map was fitted with layer -1" in said
    assert "the space cannot be read" in qa_eval(
        "map", reviews, "--apply", tmp_path, "--json", status=1
    )


@pytest.mark.long
def test_a_store_is_mapped(qa_eval, sample_store):
    given = ["map", f"store:{sample_store}", "--most", 40, "--projection", "tsne", "--json"]
    mapped = orjson.loads(qa_eval(*given, "--clusters", "hdbscan", "--field", "product"))
    assert len(mapped["ids"]) == len(set(mapped["ids"])) == 40
    assert mapped["title"].endswith("a sample of 184")
    assert {field["name"] for field in mapped["fields"]} == {"cluster", "rating", "item", "product"}
    assert "nearest centroid" in mapped["clusters"]["note"]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ([], "nothing says where the map goes"),
        (["--png", "map.jpg"], "is no picture"),
        (["--json", "--field", "colour"], "no review has a field 'colour'"),
        (["--json", "nowhere.csv"], "nowhere.csv"),
        (["--json", "--count", "7"], "6 different vectors cannot make 7 clusters"),
    ],
)
def test_map_refuses(qa_eval, files, given, said):
    assert said in qa_eval("map", files / "reviews.jsonl", *given, status=1)
