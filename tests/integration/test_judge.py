"""A judge that is trained, exported, run and asked inside a retriever; and what is refused."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from haystack import Document

from qa_system.config import changed, load_settings
from qa_system.errors import ConfigError, DataError, EmptyQuestionError, ModelError, QASystemError
from qa_system.judging import HEADS, POLARITIES, Judge, Judgements
from qa_system.pipelines import load, retrieve
from qa_system.retrievers.judged import JudgedSentenceRetriever
from qa_system.retrievers.sentences import SentenceRetriever
from qa_system.stores import FAISSDocumentStore

QUESTION = "Is the bass loud?"
TEXTS = ["The bass is very loud.", "I bought two.", "", "Quiet " * 300, "Loud? Not at all, sadly."]


def rows(judged: Judgements) -> list[Any]:
    return [getattr(judged, name).tolist() for name in HEADS]


@pytest.fixture(scope="module")
def bundled() -> Judge:
    judge = Judge(threads=2)
    judge.warm_up()
    return judge


def test_many_pairs_are_judged_as_each_alone(bundled: Judge) -> None:
    questions = [QUESTION, "Does it come in red?", "Nothing to read?"]
    texts = [TEXTS, [*reversed(TEXTS), "Red only."], []]
    together = bundled.judge(questions, texts)
    for question, own, judged in zip(questions, texts, together, strict=True):
        assert len(judged) == len(own)
        for place, text in enumerate(own):
            [alone] = bundled.judge([question], [[text]])
            for name in HEADS:
                assert np.array_equal(getattr(judged, name)[place], getattr(alone, name)[0])


def test_the_bundled_judge_tells_answers_from_other_sentences(bundled: Judge) -> None:
    [judged] = bundled.judge(
        ["How long does the battery last?"],
        [["The battery lasts about ten hours.", "I bought it for my brother's birthday."]],
    )
    assert judged.answers[0] > bundled.threshold > judged.answers[1]
    [judged] = bundled.judge(["How is it?"], [["I love it, great!", "Terrible, it broke at once."]])
    assert [POLARITIES[place] for place in judged.polarity.argmax(axis=1)] == ["for", "against"]


def test_judges_of_one_model_share_it() -> None:
    one, two = Judge(), Judge()
    one.warm_up()
    two.warm_up()
    assert one._loaded is two._loaded


def test_what_cannot_be_asked_is_refused(bundled: Judge) -> None:
    with pytest.raises(EmptyQuestionError):
        bundled.judge([" "], [["Loud."]])
    for questions, texts in (([QUESTION], []), ([QUESTION], [["Loud.", 7]]), (QUESTION, [["a"]])):
        with pytest.raises(QASystemError):
            bundled.judge(questions, texts)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["bundled:reader", "bundled:encoder", "no/such/judge/here"])
def test_another_model_is_no_judge(name: str) -> None:
    with pytest.raises(ModelError):
        Judge(name).warm_up()


def test_the_best_sentences_of_a_store_are_judged(tmp_path: Path) -> None:
    reviews = [
        Document(id="r1", content="I love the bass. It is red.", meta={"item_id": "B0"}),
        Document(id="r2", content="We flew home. The bass is very loud.", meta={"item_id": "B0"}),
        Document(id="r3", content="The bass of another item.", meta={"item_id": "B1"}),
    ]
    item = {"field": "meta.item_id", "operator": "==", "value": "B0"}
    with FAISSDocumentStore(tmp_path / "store") as store:
        store.write_documents(reviews)
        plain = SentenceRetriever(store, bm25_weight=1.0).run(QUESTION, item)
        retriever = JudgedSentenceRetriever(store, bm25_weight=1.0)
        found = retriever.run(QUESTION, item)
        assert found["reviews"] == plain["reviews"] == 2
        best = found["documents"][0]
        start, end, score, *_ = best.meta["sentences"][0]
        assert (best.id, (best.content or "")[start:end]) == ("r2", "The bass is very loud.")
        assert best.score == score
        [judged] = Judge().judge([QUESTION], [["The bass is very loud."]])
        [before] = [one for one in plain["documents"] if one.id == "r2"]
        expected = 0.7 * (before.score or 0) + 0.3 * float(judged.answers[0])
        assert score == pytest.approx(expected, abs=1e-6)
        assert len(retriever.run(QUESTION, item, top_k=1)["documents"]) == 1
        fewer = JudgedSentenceRetriever(store, judge={"sentences": 1}, bm25_weight=1.0)
        assert {one.id for one in fewer.run(QUESTION, item)["documents"]} == {"r1", "r2"}


def test_wrong_settings_of_the_judge_are_named(tmp_path: Path) -> None:
    with (
        FAISSDocumentStore(tmp_path / "store") as store,
        pytest.raises(ConfigError, match="sentences"),
    ):
        JudgedSentenceRetriever(store, judge={"sentences": -1})


def test_mode_judged_is_a_pipeline_that_can_be_written_down(tmp_path: Path) -> None:
    settings = changed(
        load_settings(),
        {
            "store.path": str(tmp_path / "store"),
            "retriever.mode": "judged",
            "judge.sentences": 8,
            "retriever.bm25_weight": 1.0,
        },
    )
    with FAISSDocumentStore(tmp_path / "store") as store:
        store.write_documents([Document(id="r1", content="Red. The bass is loud.")])
        pipeline = retrieve(store, settings)
        for each in (pipeline, load(pipeline.dumps())):
            found = each.run({"retriever": {"query": QUESTION, "filters": {}}})["retriever"]
            assert found["documents"][0].meta["sentences"][0][:2] == [5, 22]


torch = pytest.importorskip("torch")
pytest.importorskip("onnx")

from transformers import BertConfig, BertForSequenceClassification, BertModel  # noqa: E402

from qa_system.export.onnx import export_model  # noqa: E402
from qa_system.judging.judgements import LOGITS  # noqa: E402
from qa_system.training.judge.recipe import JudgeTraining  # noqa: E402

SMALL = {
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 128,
    "initializer_range": 0.2,
}
Save = Callable[[Any, Path], Path]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory, save_checkpoint: Save) -> Path:
    torch.manual_seed(3)
    config = BertConfig(**SMALL, id2label=dict(enumerate(LOGITS)))
    model = BertForSequenceClassification(config)
    return save_checkpoint(model, tmp_path_factory.mktemp("judge"))


@pytest.mark.slow
@pytest.mark.parametrize(("precision", "most"), [("fp32", 1e-4), ("int8", 0.15)])
def test_an_export_judges_as_its_checkpoint(
    checkpoint: Path, precision: str, most: float, tmp_path: Path
) -> None:
    manifest = export_model(checkpoint, tmp_path, task="judge", precision=precision)  # type: ignore[arg-type]
    assert manifest["outputs"] == list(LOGITS)
    [theirs] = Judge(str(checkpoint), precision="fp32").judge([QUESTION], [TEXTS])
    [ours] = Judge(str(tmp_path)).judge([QUESTION], [TEXTS])
    for name in HEADS:
        assert np.abs(getattr(ours, name) - getattr(theirs, name)).max() < most
    if precision == "fp32":
        [one_by_one] = Judge(str(tmp_path), batch_tokens=1).judge([QUESTION], [TEXTS])
        assert np.abs(one_by_one.polarity - ours.polarity).max() < 1e-5


@pytest.mark.slow
def test_the_last_layer_is_computed_for_the_first_token_alone(
    checkpoint: Path, tmp_path: Path
) -> None:
    import onnx

    export_model(checkpoint, tmp_path, task="judge", precision="fp32")
    graph = onnx.load(tmp_path / "model.onnx").graph
    kinds = [node.op_type for node in graph.node]
    selections = [
        place
        for place, node in enumerate(graph.node)
        if node.op_type == "Gather" and any(a.name == "axis" and a.i == 1 for a in node.attribute)
    ]
    last = max(place for place, kind in enumerate(kinds) if kind == "MultiHeadAttention")
    # The output of attention and what it is added to; the last layer's own normalisations follow.
    assert len(selections) == 2
    assert kinds[max(selections) :].count("LayerNormalization") == 2
    assert selections[-1] > last


@pytest.mark.slow
def test_a_classifier_of_other_things_is_no_judge(
    save_checkpoint: Save, checkpoint: Path, tmp_path: Path
) -> None:
    other = save_checkpoint(BertForSequenceClassification(BertConfig(**SMALL)), tmp_path / "other")
    with pytest.raises(ModelError, match="no judge"):
        Judge(str(other)).warm_up()
    with pytest.raises(ModelError, match="no judge"):
        export_model(other, tmp_path / "out", task="judge")
    export_model(checkpoint, tmp_path / "out", task="judge", precision="fp32")
    manifest = json.loads((tmp_path / "out" / "model.json").read_bytes())
    manifest["outputs"] = manifest["outputs"][::-1]
    (tmp_path / "out" / "model.json").write_text(json.dumps(manifest))
    with pytest.raises(ModelError, match="its outputs are subjective"):
        Judge(str(tmp_path / "out")).warm_up()


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory, save_checkpoint: Save) -> dict[str, Any]:
    torch.manual_seed(4)
    folder = tmp_path_factory.mktemp("start")
    pairs = [
        {
            "question": "Is it loud?",
            "text": f"{word} loud {n}.",
            "answers": n % 2,
            "item_id": n,
            "polarity": "for" if n % 2 else "against",
            "stance": "yes" if n % 2 else "no",
        }
        for n, word in enumerate(["Very", "Not"] * 10)
    ]
    (folder / "pairs.jsonl").write_text("\n".join(map(json.dumps, pairs)))
    return {
        "model": str(save_checkpoint(BertModel(BertConfig(**SMALL)), folder / "encoder")),
        "train": [{"path": "bundled:sample", "split": "train", "weight": 0.2}],
        "dev": [{"path": "bundled:sample", "split": "dev"}],
        "pairs": [{"path": str(folder / "pairs.jsonl"), "weight": 2, "held_out": 0.3}],
        "layers": 1,
        "epochs": 1,
        "evaluations": 1,
        "max_seq_length": 48,
        "device": "cpu",
        "precision": "fp32",
    }


def train(recipe: dict[str, Any], out: Path, **changes: Any) -> dict[str, Any]:
    from qa_system.training.judge.train import train_judge

    return train_judge(JudgeTraining.model_validate(recipe | changes), out)


@pytest.mark.slow
def test_a_run_leaves_a_judge_and_its_record(recipe: dict[str, Any], tmp_path: Path) -> None:
    from transformers import AutoModel

    record = train(recipe, tmp_path / "judge")
    assert {"map", "polarity", "stance", "f1"} <= record["scores"].keys()
    assert record["calibration"]["fitted_on"] == "6 pairs, held out of pairs"
    assert record["counts"]["labelled"] == 14
    judge = Judge(str(tmp_path / "judge"))
    assert judge.threshold == record["calibration"]["threshold"]
    assert judge._ready().calibration.temperatures.keys() == {"answers", "stance", "polarity"} | (
        record["calibration"]["temperatures"].keys() & {"subjective"}
    )
    trained = AutoModel.from_pretrained(tmp_path / "judge")
    before = AutoModel.from_pretrained(recipe["model"])
    assert trained.config.num_hidden_layers == 1
    # The table of embeddings stays as it was.
    assert torch.equal(trained.get_input_embeddings().weight, before.get_input_embeddings().weight)
    [judged] = judge.judge([QUESTION], [TEXTS])
    assert len(judged) == len(TEXTS)
    with pytest.raises(ConfigError, match="holds a trained model"):
        train(recipe, tmp_path / "judge")


def test_an_item_held_out_of_one_file_is_learnt_from_in_none(tmp_path: Path) -> None:
    from qa_system.training.judge.train import gather_pairs

    for name, items in (("one", range(10)), ("two", range(5, 25))):
        lines = [
            {"question": "Loud?", "text": f"{name} {item}", "answers": 1, "item_id": item}
            for item in items
        ]
        (tmp_path / f"{name}.jsonl").write_text("\n".join(map(json.dumps, lines)))
    files = [
        {"path": str(tmp_path / "one.jsonl"), "held_out": 0.4},
        {"path": str(tmp_path / "two.jsonl")},
    ]
    material = gather_pairs(JudgeTraining.model_validate({"model": "x", "pairs": files}))
    apart = {pair.item_id for pair in material.labelled}
    assert len(apart) == len(material.labelled) == 4
    learnt = [pair.item_id for pair in material.pairs]
    assert not apart & set(learnt)
    shared = sum(int(item or 0) >= 5 for item in apart)
    assert len(learnt) == 6 + 20 - shared == material.counts["labelled"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"train": [], "pairs": []}, "nothing to learn from"),
        ({"dev": [], "pairs": []}, "nothing to measure on"),
        ({"pairs": [{"path": "nowhere.jsonl"}]}, "cannot be read"),
    ],
)
def test_a_recipe_without_material_is_refused(
    recipe: dict[str, Any], changes: dict[str, Any], says: str, tmp_path: Path
) -> None:
    with pytest.raises(DataError, match=says):
        train(recipe, tmp_path / "judge", **changes)
