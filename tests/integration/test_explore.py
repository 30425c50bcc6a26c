"""A first look at a data set, compared with a count of its files by other means."""

import csv
import html
import json
import statistics
import sys
from collections import defaultdict

import pytest

from eval import cli
from eval.datasets import load_dataset
from eval.explore import explore
from eval.runs.slices import slices_of
from qa_system.config import ReaderSettings
from qa_system.datasets.dataset import Dataset
from qa_system.datasets.jsonl import write_labels_jsonl
from qa_system.errors import EvaluationError
from qa_system.labels import UNLOCATED
from qa_system.models.inference import load_tokenizer
from qa_system.models.locate import locate
from qa_system.readers.windows import WindowCutter
from qa_system.records import AnswerSpan, Label

READER = ReaderSettings()


@pytest.fixture
def qa_eval(monkeypatch, capsys):
    def call(*args):
        capsys.readouterr()
        monkeypatch.setattr(sys, "argv", ["qa-eval", *map(str, args)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        assert not ended.value.code
        return capsys.readouterr().out

    return call


def rows_of(folder):
    """The rows of a SubjQA folder as its files have them."""
    for split in ("train", "dev", "test"):
        with (folder / f"{split}.csv").open(encoding="utf-8", newline="") as lines:
            for row in csv.DictReader(lines):
                yield split, row


def counts_of(rows):
    pairs = defaultdict(list)
    reviews, items = set(), set()
    for split, row in rows:
        pairs[split, row["q_review_id"]].append(row["human_ans_spans"] != "ANSWERNOTFOUND")
        reviews.add(row["review_id"])
        items.add(row["item_id"])
    twice = [votes for votes in pairs.values() if len(votes) > 1]
    return {
        "questions": len(pairs),
        "reviews": len(reviews),
        "items": len(items),
        "answerable": sum(map(any, pairs.values())) / len(pairs),
        "questions_of_review": len(pairs) / len(reviews),
        "reviews_of_item": len(reviews) / len(items),
        "annotated_twice": len(twice),
        "agreement": sum(len(set(votes)) == 1 for votes in twice) / len(twice),
    }


def check_against_its_files(folder):
    data = load_dataset(folder)
    found = explore(data, READER)
    rows = list(rows_of(folder))
    assert found["counts"]["all"] == pytest.approx(counts_of(rows))
    for split in ("train", "dev", "test"):
        assert found["counts"][split] == pytest.approx(
            counts_of([row for row in rows if row[0] == split])
        )
    answers = found["answers"]
    marked = sum(row["human_ans_spans"] != "ANSWERNOTFOUND" for _, row in rows)
    assert answers["exact"] + answers["repaired"] + answers["given_up"] == marked
    assert answers["exact"] == sum(_is_exact(row) for _, row in rows)
    where = defaultdict(set)
    for split, row in rows:
        where[row["q_review_id"]].add(split)
    assert found["overlap"]["doubled_question_ids"] == sum(len(each) > 1 for each in where.values())
    return found


def _is_exact(row):
    if row["human_ans_spans"] == "ANSWERNOTFOUND":
        return False
    start, end = map(int, row["human_ans_indices"].strip("()").split(","))
    return row["review"][start:end] == row["human_ans_spans"]


def test_the_sample_is_what_its_description_says(sample):
    found = check_against_its_files(sample)  # the figures below are those of its README
    everything, test = found["counts"]["all"], found["counts"]["test"]
    assert (everything["questions"], everything["reviews"], everything["items"]) == (394, 184, 14)
    assert (test["questions"], test["reviews"], test["annotated_twice"]) == (157, 117, 11)
    assert round(100 * (1 - everything["answerable"]), 1) == 26.1
    assert test["agreement"] == 8 / 11
    assert sum(of["questions"] for of in found["question_words"].values()) == 394
    assert found["counts"].keys() == {"all", "train", "dev", "test"}
    json.dumps(found, allow_nan=False)


def test_tokens_and_windows_are_the_readers(sample):
    data = load_dataset(sample)
    settings = ReaderSettings(max_seq_length=96, stride=16)
    found = explore(data, settings)
    tokenizer = load_tokenizer(locate("bundled:reader").path)
    cutter = WindowCutter(tokenizer, 96, 16)
    windows = cutter.cut(
        [label.question for label in data.labels], [[label.context] for label in data.labels]
    )
    several = sum(len(of_question[0]) > 1 for of_question in windows)
    assert found["window"] == {
        "reader": "bundled:reader",
        "tokens": 96,
        "stride": 16,
        "questions": 394,
        "too_long": 0,
        "several_windows": several / 394,
    }
    assert 0 < several < 394
    lengths = [
        len(tokenizer.encode(review.text, add_special_tokens=False).ids) for review in data.reviews
    ]
    assert found["lengths"]["review"]["median"] == statistics.median(lengths)
    assert found["lengths"]["review"]["max"] == max(lengths)
    together = [len(tokenizer.encode(label.question, label.context).ids) for label in data.labels]
    assert found["lengths"]["pair"]["median"] == statistics.median(together)
    assert found["lengths"]["pair"]["max"] == max(together)
    assert found["histograms"]["pair_tokens"]["lines"] == {"the reader's window": 96}
    drawn = found["histograms"]["review_tokens"]
    assert sum(drawn["counts"]["reviews"]) == len(lengths) == found["lengths"]["review"]["count"]
    assert len(drawn["edges"]) == len(drawn["counts"]["reviews"]) + 1
    first, second = drawn["edges"][:2]
    assert drawn["counts"]["reviews"][0] == sum(first <= length < second for length in lengths)
    assert drawn["lines"] == {"the reader's window": 96}


def label(question_id, *answers, **fields):
    given = {"question": "How is it?", "item_id": "B00", "review_id": "r1", "context": "Good."}
    return Label(question_id, answers=answers, **given | fields)


def test_odd_labels_are_counted():
    good = AnswerSpan("Good", 0, 4)
    labels = (
        label("a", good, annotations=((good,), ()), split="train", meta={"domain": "x"}),
        label("a", split="test", meta={UNLOCATED: ["god"]}, annotations=((),)),
        label("b", question="long " * 400, split="test", item_id=None, review_id="r2"),
        label("c", good, annotations=((good,), (good,)), split="test", meta={UNLOCATED: ["god"]}),
    )
    found = explore(Dataset("odd", labels, ()), READER)
    assert list(found["counts"]) == ["all", "train", "test", "domain x", "domain None"]
    assert found["counts"]["all"] == {
        "questions": 4,
        "reviews": 2,
        "items": 1,
        "answerable": 0.75,
        "questions_of_review": 2.0,
        "reviews_of_item": 1.0,
        "annotated_twice": 3,
        "agreement": 1 / 3,
    }
    assert found["window"]["questions"] == 3
    assert found["window"]["too_long"] == 1
    assert found["answers"] == {
        **dict.fromkeys(("exact", "repaired", "given_up")),
        "unlocated": 2,
        "only_unlocated": 1,
    }
    assert found["overlap"] == {
        "doubled_question_ids": 1,
        **dict.fromkeys(
            (
                "dev_items",
                "dev_items_in_train",
                "dev_reviews",
                "dev_reviews_in_train",
                "dev_questions",
                "dev_questions_in_train",
            ),
            0,
        ),
        "test_items": 1,
        "test_items_in_train": 1,
        "test_reviews": 2,
        "test_reviews_in_train": 1,
        "test_questions": 1,
        "test_questions_in_train": 1,
    }


def test_questions_are_drawn_by_the_seed(sample):
    data = load_dataset(sample)
    one, same, other = (
        explore(data, READER, samples=2, seed=seed)["question_samples"] for seed in (1, 1, 2)
    )
    assert one == same != other
    assert {word: len(asked) for word, asked in one.items()} == {
        word: min(2, len({label.question for label in data.labels if first(label) == word}))
        for word in one
    }
    assert explore(data, READER)["bars"]["question_words"]["counts"] == {
        word: of["questions"] for word, of in explore(data, READER)["question_words"].items()
    }


def first(label):
    return slices_of([label], Dataset("", (), ()))[0]["question_word"]


def test_no_answers_and_no_texts():
    found = explore(Dataset("unanswered", (label("a", item_id=None),), ()), READER)
    assert found["lengths"]["answer"] == {"count": 0, "median": None, "p95": None, "max": None}
    assert "answer_tokens" not in found["histograms"]
    assert found["counts"]["all"]["reviews_of_item"] is None
    with pytest.raises(EvaluationError, match=r"no questions .*empty"):
        explore(Dataset("empty", (), ()), READER)


def test_the_command_prints_tables_json_and_a_page(qa_eval, sample, tmp_path):
    shown = qa_eval("explore")
    assert "of the questions have a review that needs more than one window of 384" in shown
    assert "Annotators' answers: 318 are at the annotated place" in shown
    page = tmp_path / "look.html"
    report = json.loads(qa_eval("explore", sample, "--json", "--out", page))
    assert report == explore(load_dataset(sample), READER)
    shown = qa_eval("explore", sample, "--samples", 1)
    for word, asked in report["question_samples"].items():
        assert len(set(asked)) == min(3, len(asked))
        assert f"{word}: {asked[0]}" in " ".join(shown.split())
    assert "pairs of question and review" in shown
    text = page.read_text(encoding="utf-8")
    assert text.count("<svg") == len(report["histograms"]) + len(report["bars"]) == 5
    assert "How questions begin" in text
    assert html.escape(report["question_samples"]["is"][2]) in text
    assert "<td" in text
    assert list(tmp_path.iterdir()) == [page]

    write_labels_jsonl([label("q", meta={"domain": "<script>"}), label("r")], tmp_path / "l.jsonl")
    shown = qa_eval("explore", tmp_path / "l.jsonl", "--out", page)
    assert "domain <script>" in shown
    assert "<script>" not in page.read_text(encoding="utf-8").split("<main")[1].split("</main>")[0]


@pytest.mark.data
@pytest.mark.parametrize("domain", ["electronics", "tripadvisor"])
def test_research_data_is_counted_right(qa_data, domain):
    found = check_against_its_files(qa_data / "subjqa" / domain)
    if domain == "electronics":  # what the README of the data says
        counts = found["counts"]
        assert [counts[split]["questions"] for split in ("train", "dev", "test")] == [
            1295,
            255,
            358,
        ]
        assert (counts["all"]["reviews"], counts["all"]["items"]) == (1615, 514)
        overlap = found["overlap"]
        # Nearly all of dev is train, asked of other annotators.
        assert (overlap["dev_reviews"], overlap["dev_reviews_in_train"]) == (252, 247)
        assert (overlap["dev_questions"], overlap["dev_questions_in_train"]) == (246, 240)
        assert overlap["test_questions_in_train"] == 0
        assert (overlap["test_items"], overlap["test_items_in_train"]) == (202, 123)
        assert (overlap["test_reviews"], overlap["test_reviews_in_train"]) == (358, 13)


@pytest.mark.data
def test_all_domains_together(qa_data):
    data = load_dataset(qa_data / "subjqa")
    found = explore(data, READER)
    domains = {name for name in found["counts"] if name.startswith("domain ")}
    assert domains == {
        f"domain {name}" for name in ("electronics", "grocery", "restaurants", "tripadvisor")
    }
    assert sum(found["counts"][name]["questions"] for name in domains) == len(data.labels) == 7681
