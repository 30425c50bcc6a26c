"""`qa-eval generator` on made-up reviews: a real store, the bundled encoder and reader, and a tiny
generator of random weights. What it says is nonsense; how it is asked and counted is not."""

import json
import sys
from random import Random

import pytest

from eval import cli
from eval.datasets import load_dataset
from eval.tasks.candidates import Selection, filters_of, temporary_index
from eval.tasks.generator import gold_evidence
from eval.tasks.run import generator_run
from qa_system import pipelines
from qa_system.config import load_settings
from qa_system.errors import EvaluationError
from qa_system.labels import gold_documents
from qa_system.records import Label, Review
from qa_system.retrievers.encoders import load_encoder
from qa_system.stores import open_store
from qa_system.texts.passages import matched
from tiny_models import save_seq2seq

SAID = {
    "lamp": (
        "The light is warm and bright enough for reading in bed.",
        "Stopped working after a week. Returned it.",
        "The battery lasts ten hours, and the light is bright.",
        "The strap is leather. It smells a little.",
        "Cheap, and it looks cheap. The switch sticks.",
    ),
    "tent": (
        "Bright orange; you will be seen. The zipper is solid.",
        "Took on water in the first rain.",
        "Two people fit, three do not.",
        "The poles broke in a light wind.",
    ),
}
ASKED = (
    # question, item, the review that was labelled, its answer
    ("How long does the battery last?", "lamp", 2, "ten hours"),
    ("How long does the battery last?", "lamp", 4, None),
    ("Is it bright?", "lamp", 0, "bright enough for reading"),
    ("What is the strap made of?", "lamp", 3, "leather"),
    ("How long does the battery last?", "lamp", 1, None),
    ("Is it waterproof?", "tent", 1, "Took on water"),
    ("How many people fit?", "tent", 2, "Two people"),
    # Nothing that any retriever would find it by.
    ("What would a sailor say?", "tent", 3, "broke in a light wind"),
)


@pytest.fixture(scope="module")
def made_up(tmp_path_factory):
    """Labels as JSON Lines with items, and as SQuAD without any."""
    folder = tmp_path_factory.mktemp("made-up")
    lines, paragraphs = [], []
    for number, (question, item, at, answer) in enumerate(ASKED):
        text = SAID[item][at]
        line = {"question_id": f"q{number}", "question": question, "context": text}
        line |= {"item_id": item, "review_id": f"{item}-{at}", "split": "test"}
        lines.append(line | {"answers": [] if answer is None else [answer]})
        answers = [] if answer is None else [{"text": answer, "answer_start": text.index(answer)}]
        qas = {"id": f"q{number}", "question": question, "answers": answers}
        qas["is_impossible"] = answer is None
        paragraphs.append({"context": text, "qas": [qas]})
    # What is labelled for another split is read all the same.
    lines.append(
        {
            "question_id": "q0",
            "question": "Who sees you?",
            "item_id": "tent",
            "review_id": "tent-0",
            "split": "train",
            "context": SAID["tent"][0],
            "answers": [],
        }
    )
    (folder / "items.jsonl").write_text("\n".join(map(json.dumps, lines)))
    tree = {"version": "2.0", "data": [{"title": "all", "paragraphs": paragraphs}]}
    (folder / "squad.json").write_text(json.dumps(tree))
    return folder


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return save_seq2seq(tmp_path_factory.mktemp("tiny"))


def settings_of(tiny=None, **overrides):
    given = {key.replace("__", "."): value for key, value in overrides.items()}
    given = {"generator.documents": 3, "generator.max_length": 6, "generator.num_beams": 2} | given
    given |= {"generator.max_source_length": 96}
    return load_settings(
        None, given if tiny is None else given | {"generator.model": str(tiny)}, environ={}
    )


@pytest.fixture(scope="module")
def data(made_up):
    return load_dataset(str(made_up / "items.jsonl"))


@pytest.fixture(scope="module")
def placed(data):
    with temporary_index(data.reviews, settings_of(), embed=True) as settings:
        yield settings


def chosen(placed, labels, scope="item", **generator):
    settings = placed.model_copy(
        update={"generator": placed.generator.model_copy(update=generator)}
    )
    with open_store(settings.store) as store:
        choose = gold_evidence(store, settings, filters_of(labels, scope))
        return [choose(label) for label in labels]


def ids(evidence):
    return [document.meta["review_id"] for document in evidence.documents]


@pytest.mark.parametrize("most", [1, 2, 3, 5])
@pytest.mark.parametrize("mode", ["bm25", "dense", "hybrid"])
def test_the_gold_review_is_always_read_and_the_rest_is_the_retrievers(placed, data, most, mode):
    retriever = placed.retriever.model_copy(update={"mode": mode})
    placed = placed.model_copy(update={"retriever": retriever})
    labels = data.labels_of("test")
    read = chosen(placed, labels, documents=most)
    with open_store(placed.store) as store:
        pipeline = pipelines.retrieve(store, placed)
        for label, evidence in zip(labels, read, strict=True):
            filters = filters_of(labels, "item")(label)
            found = pipeline.run({"query": label.question, "filters": filters})
            best = [each.meta["review_id"] for each in found["retriever"]["documents"]][:most]
            assert evidence.found == (label.review_id in best)
            expected = best if evidence.found else [*best[: most - 1], label.review_id]
            assert ids(evidence) == expected
            items = {document.meta["item_id"] for document in evidence.documents}
            assert items == {label.item_id}
    assert most > 2 or any(not each.found for each in read)


@pytest.mark.parametrize("mode", ["bm25", "hybrid"])
def test_scores_are_the_encoders_dot_products(placed, data, mode):
    retriever = placed.retriever.model_copy(update={"mode": mode})
    labels = data.labels_of("test")
    encoder = load_encoder(placed.encoder)
    read = chosen(placed.model_copy(update={"retriever": retriever}), labels)
    for label, evidence in zip(labels, read, strict=True):
        [question] = encoder.encode_questions([label.question])
        for document in evidence.documents:
            [passage] = encoder.encode_passages([document.content])
            assert document.score == pytest.approx(float(question @ passage), abs=1e-4)


def test_a_dense_retriever_gives_the_scores_that_it_found(placed, data):
    retriever = placed.retriever.model_copy(update={"mode": "dense"})
    placed = placed.model_copy(update={"retriever": retriever})
    label = data.labels_of("test")[0]
    [evidence] = chosen(placed, [label])
    with open_store(placed.store) as store:
        found = pipelines.retrieve(store, placed).run(
            {"query": label.question, "filters": filters_of([label], "item")(label)}
        )
    expected = {each.id: each.score for each in found["retriever"]["documents"]}
    assert evidence.found
    for document in evidence.documents:
        assert document.score == pytest.approx(expected[document.id], abs=1e-6)


def test_of_a_split_review_the_nearest_passage_is_read():
    texts = ["It is blue. " * 12 + "The battery lasts ten hours. " + "It is round. " * 12]
    texts += [f"The battery lasts {number} hours." for number in ("two", "three", "four")]
    answer = "ten hours"
    labels = [
        Label("q", "Which shape and colour is it?", "lamp", f"r{at}", text, ())
        for at, text in enumerate(texts)
    ]
    reviews = [Review(each.review_id, each.item_id, each.context) for each in labels]
    settings = settings_of(
        generator__documents=2,
        retriever__mode="bm25",
        indexing__passages={"max_words": 20, "overlap_words": 5},
    )
    label = Label("q", "How long do batteries last?", "lamp", "r0", texts[0], (), meta={})
    with temporary_index(reviews, settings, embed=True) as placed:
        [evidence] = chosen(placed, [label])
    assert "r0" in ids(evidence)
    [part] = [each for each in evidence.documents if each.meta["review_id"] == "r0"]
    assert part.content == texts[0]
    read = matched(part.content, part.meta)
    assert answer in read
    assert len(read) < len(texts[0])


def test_same_questions_asked_once_have_several_gold_reviews(tiny, data):
    settings = settings_of(tiny, generator__documents=1)
    run = generator_run(data, settings, Selection("test", aggregated=True), similarity=False)
    rows = run.systems["generated"].rows
    assert len(rows) == len({(question, item) for question, item, _, _ in ASKED})
    assert all(row.scores["gold_posterior"] in (1, None) for row in rows)


def test_items_where_there_are_items_and_unanswerable_questions(tiny, data):
    run = generator_run(data, settings_of(tiny), Selection("test"), similarity=False)
    assert run.made_with["scope"] == "item"
    assert {"reader", "encoder", "generator"} <= run.made_with["models"].keys()
    assert list(run.systems) == ["generated", "supported", "uniform prior", "reader"]
    for name, system in run.systems.items():
        counts = system.counts
        assert (counts["questions"], counts["answerable"], counts["failed"]) == (8, 6, 0)
        for row in system.rows:
            assert row.scores["coverage"] == bool(row.output["prediction"])
            assert (row.scores["precision"] is None) == (not row.output["prediction"])
            if not row.references:
                assert row.scores["em"] == (not row.output["prediction"])
                assert row.scores["gold_posterior"] is None
            posterior = row.output["posterior"]
            if name != "reader" and row.output["forced"]:
                assert sum(posterior.values()) == pytest.approx(1)
                assert row.review_id in posterior
            assert {review.split("-")[0] for review in posterior} <= {row.item_id}
    generated, supported = run.systems["generated"], run.systems["supported"]
    for said, kept in zip(generated.rows, supported.rows, strict=True):
        if said.output["prediction"] and not said.output["supported"]:
            assert kept.output["prediction"] == ""
    kept, withheld = (supported.counts[name] for name in ("answered", "withheld"))
    assert kept + withheld == generated.counts["answered"] > 0


def test_a_prior_is_none_without_scores(tiny, data):
    """Sharp scores leave one review in charge, none at all share among the three."""
    settings = settings_of(tiny, generator__prior="retriever", generator__score_scale=300.0)
    run = generator_run(data, settings, Selection("test"), similarity=False)

    def most(name):
        rows = run.systems[name].rows
        return [max(row.output["posterior"].values(), default=1.0) for row in rows]

    assert all(share > 0.9 for share in most("generated"))
    assert min(most("uniform prior")) < 0.9
    settings = settings_of(tiny, generator__prior="retriever", generator__score_scale=0.0)
    flat = generator_run(data, settings, Selection("test"), similarity=False).systems
    assert [row.output["prediction"] for row in flat["generated"].rows] == [
        row.output["prediction"] for row in flat["uniform prior"].rows
    ]


def test_the_readers_prior_asks_for_no_scores(tiny, data):
    def posteriors(scale):
        settings = settings_of(tiny, generator__score_scale=scale)
        run = generator_run(data, settings, Selection("test"), similarity=False)
        return [row.output["posterior"] for row in run.systems["generated"].rows], run

    sharp, run = posteriors(300.0)
    assert sharp == posteriors(0.0)[0]
    assert sharp != [row.output["posterior"] for row in run.systems["uniform prior"].rows]


@pytest.mark.slow
def test_the_size_of_batches_changes_nothing(tiny, data):
    settings = settings_of(tiny)
    one, all_ = (
        generator_run(data, settings, Selection("test"), similarity=False, batch=batch)
        for batch in (1, 64)
    )
    for name, system in one.systems.items():
        for alone, together in zip(system.rows, all_.systems[name].rows, strict=True):
            assert alone.output["prediction"] == together.output["prediction"]
            assert alone.output["posterior"] == pytest.approx(together.output["posterior"])


def test_a_drawn_part_is_the_same_every_time(tiny, data):
    settings = settings_of(tiny)
    run = generator_run(data, settings, Selection("test"), similarity=False, questions=3)
    asked = [row.question_id for row in run.systems["reader"].rows]
    assert asked == [f"q{at}" for at in sorted(Random(settings.seed).sample(range(8), 3))]
    assert run.made_with["questions"] == 3


@pytest.fixture
def qa_eval(tmp_path, monkeypatch, capsys, tiny):
    monkeypatch.chdir(tmp_path)
    generator = ("--generator", tiny, "--documents", 3, "--resamples", 100)
    for setting in ("max_length=6", "num_beams=2", "max_source_length=96"):
        generator += ("--set", f"generator.{setting}")

    def call(command, *args, code=0):
        capsys.readouterr()
        given = generator if command == "generator" else ()
        monkeypatch.setattr(sys, "argv", ["qa-eval", command, *map(str, (*given, *args))])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        said = capsys.readouterr()
        assert (ended.value.code or 0) == code, said.err
        return said

    return call


@pytest.mark.slow
def test_the_command_line_with_a_report(qa_eval, made_up, tmp_path):
    said = qa_eval(
        "generator", "--dataset", made_up / "items.jsonl", "--out", "run", "--rows", "all.parquet"
    )
    for word in ("coverage", "precision", "uniform prior", "report.html", "scope item"):
        assert word in said.out
    report = json.loads((tmp_path / "run" / "report.json").read_text())
    assert report["kind"] == "generator"
    assert report["systems"]["generated"]["details"]["precision_coverage"]["coverage"]
    assert len((tmp_path / "run" / "rows.jsonl").read_text().splitlines()) == 4 * 8
    assert "Precision over coverage" in (tmp_path / "run" / "report.html").read_text()
    assert (tmp_path / "all.parquet").stat().st_size > 0
    compared = json.loads(
        qa_eval("compare", "run:generated", "run:supported", "--json", "--resamples", 100).out
    )
    assert compared["questions"]["compared"] == 8


def test_json_of_a_data_set_without_items(qa_eval, made_up):
    args = ("--dataset", made_up / "squad.json", "--no-sas", "--json")
    report = json.loads(qa_eval("generator", *args).out)
    assert report["made_with"]["scope"] == "open"
    systems = report["systems"]
    assert list(systems) == ["generated", "supported", "uniform prior", "reader"]
    for system in systems.values():
        assert system["counts"]["questions"] == 8
        assert system["counts"]["documents_median"] == 3
        assert 0 <= system["metrics"]["coverage"] <= 1
        low, high = system["intervals"]["coverage"] or (0, 1)
        assert low <= system["metrics"]["coverage"] <= high
    assert report["references"].keys() >= {"always_empty"}
    pairs = {(each["a"], each["b"]) for each in report["comparisons"]}
    assert {("generated", "uniform prior"), ("supported", "generated")} <= pairs


def test_errors_are_one_message(qa_eval, made_up, tmp_path):
    squad = ("--dataset", made_up / "squad.json")
    assert "--scope open" in qa_eval("generator", *squad, "--scope", "item", code=1).err
    said = qa_eval("generator", *squad, "--generator", "bundled:nobody", code=1)
    assert "no bundled model" in said.err
    said = qa_eval("generator", *squad, "--store", "nowhere", code=1)
    assert "there is no store" in said.err


@pytest.mark.slow
def test_a_guard_can_stand_on_it(qa_eval, made_up, tiny, tmp_path):
    settings = {"generator.model": str(tiny), "generator.documents": 3, "generator.max_length": 6}
    settings |= {"generator.num_beams": 2, "generator.max_source_length": 96}
    tree = {
        "evaluate": "generator",
        "dataset": str(made_up / "items.jsonl"),
        "split": "test",
        "options": {"similarity": False},
        "settings": settings,
        "expected": {"generated": {"coverage": 0.5, "precision": 0.5}, "supported": {"f1": 2.0}},
    }
    (tmp_path / "mine.yaml").write_text(json.dumps(tree))
    assert "supported f1" in qa_eval("check", "mine.yaml", code=1).out
    qa_eval("check", "mine.yaml", "--update")
    qa_eval("check", "mine.yaml")
    (tmp_path / "mine.yaml").write_text(json.dumps(tree | {"options": {"top_k": 3}}))
    assert "no option of a generator" in qa_eval("check", "mine.yaml", code=2).err


def test_the_gold_review_has_to_be_in_a_store_of_ones_own(placed, data):
    alien = Label("q", "Is it bright?", "lamp", "elsewhere", "Bright.", ())
    assert gold_documents(alien) == frozenset()
    with pytest.raises(EvaluationError, match="not in the store"):
        chosen(placed, [alien])
