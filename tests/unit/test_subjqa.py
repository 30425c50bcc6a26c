import csv
import sys
from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qa_system.datasets.subjqa import (
    GivenUp,
    SpanFinder,
    fields_of_hub_row,
    is_subjqa,
    iter_reviews,
    read_subjqa,
)
from qa_system.errors import DataError, MissingDependencyError, RecordError
from qa_system.labels import UNLOCATED
from qa_system.records import AnswerSpan

DOMAINS = ("electronics", "grocery", "restaurants", "tripadvisor")
REVIEW = "The strap isn't wide. It's OK."
NONE = "ANSWERNOTFOUND"


def row(**changes):
    fields = {
        "item_id": "B00",
        "domain": "electronics",
        "q_review_id": "q1",
        "question": "How is the strap?",
        "is_ques_subjective": "True",
        "question_subj_level": "2",
        "review_id": "r1",
        "review": f"{REVIEW} {NONE}",
        "human_ans_spans": NONE,
        "human_ans_indices": "(0, 0)",
        "is_ans_subjective": "False",
    }
    return fields | changes


@pytest.fixture
def folder(tmp_path):
    def write(rows, split="test", columns=None, to=tmp_path):
        to.mkdir(exist_ok=True)
        names = list(rows[0]) if columns is None else columns
        with (to / f"{split}.csv").open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, names, extrasaction="ignore")
            writer.writeheader()
            writer.writerows(rows)
        return to

    return write


class TestReviews:
    def test_the_button_is_stripped_at_the_very_end_and_only_once(self, folder):
        text = f"I pressed {NONE} and then {NONE} {NONE}"
        found = read_subjqa(folder([row(review=text)])).reviews
        assert found[0].text == f"I pressed {NONE} and then {NONE}"

    def test_a_review_without_the_button_is_left_alone(self, folder):
        assert read_subjqa(folder([row(review="Good.")])).reviews[0].text == "Good."

    def test_extra_columns_become_metadata_with_their_types(self, folder):
        extra = {"product": "Lamp", "stars": "4", "date": "2024-01-02", "code": "007", "note": ""}
        review = read_subjqa(folder([row(**extra)])).reviews[0]
        assert review.meta == {
            "domain": "electronics",
            "product": "Lamp",
            "stars": 4,
            "date": "2024-01-02",
            "code": "007",
            "split": ["test"],
            "question_id": ["q1"],
        }

    def test_a_review_knows_all_its_splits_and_questions(self, folder):
        folder([row(), row(q_review_id="q2"), row(q_review_id="q2")], "train")
        path = folder([row(q_review_id="q3"), row(review_id="r2", q_review_id="q4")], "test")
        for reviews in (list(iter_reviews(path)), read_subjqa(path).reviews):
            asked = {each.id: (each.meta["split"], each.meta["question_id"]) for each in reviews}
            assert asked == {
                "r1": (["train", "test"], ["q1", "q2", "q3"]),
                "r2": (["test"], ["q4"]),
            }
        [first, _] = read_subjqa(path, "test").reviews
        assert (first.meta["split"], first.meta["question_id"]) == (["test"], ["q3"])

    def test_the_title_is_the_items_id_and_no_text(self, folder):
        [review] = read_subjqa(folder([row(title="B00X")])).reviews
        assert (review.item_id, "title" in review.meta) == ("B00", False)
        file = folder([row()]) / "test.csv"
        file.write_text(file.read_text().replace("item_id", "title", 1))
        assert is_subjqa(file)
        [review] = iter_reviews(file)
        assert (review.item_id, "title" in review.meta) == ("B00", False)

    def test_each_review_once_over_all_splits(self, folder):
        folder([row(), row(q_review_id="q2")], "train")
        path = folder([row(), row(review_id="r2", q_review_id="q3", review="New.")], "test")
        assert [review.id for review in iter_reviews(path)] == ["r1", "r2"]
        assert [review.id for review in read_subjqa(path).reviews] == ["r1", "r2"]

    def test_iter_reviews_streams(self, folder):
        path = folder([row(), row(review_id="r2", review="")])
        reviews = iter_reviews(path)
        assert next(reviews).id == "r1"
        with pytest.raises(RecordError, match=r"review is empty|empty"):
            next(reviews)

    def test_two_texts_under_one_id_are_an_error(self, folder):
        path = folder([row(), row(review="Another text.")])
        for read in (read_subjqa, lambda path: list(iter_reviews(path))):
            with pytest.raises(RecordError, match=r"'r1' stands for another text.*line 3"):
                read(path)

    def test_a_bad_row_can_be_set_aside(self, folder):
        rows = [
            row(),
            row(review="Another text."),
            row(review_id=""),
            row(review_id="r2", review=f" {NONE}"),
            row(review_id="r3", review="Good."),
        ]
        errors = []
        reviews = list(iter_reviews(folder(rows), on_error=errors.append))
        assert [review.id for review in reviews] == ["r1", "r3"]
        assert [error.where.rsplit(" ", 1)[1] for error in errors] == ["3", "4", "5"]

    def test_bad_bytes_spoil_their_own_row_only(self, folder):
        path = folder([row(), row(review_id="r2", review="XX"), row(review_id="r3")])
        file = path / "test.csv"
        file.write_bytes(file.read_bytes().replace(b"XX", b"caf\xe9"))
        errors = []
        reviews = list(iter_reviews(path, on_error=errors.append))
        assert [review.id for review in reviews] == ["r1", "r3"]
        assert "not UTF-8" in str(errors[0])
        with pytest.raises(RecordError, match="not UTF-8"):
            read_subjqa(path)

    def test_a_long_review_is_no_end_of_the_file(self, folder):
        long = "word " * 40_000
        reviews = list(iter_reviews(folder([row(review=long), row(review_id="r2")])))
        assert [len(review.text) for review in reviews] == [200_000, len(REVIEW)]


class TestLabels:
    def test_annotators_are_merged(self, folder):
        rows = [
            row(human_ans_spans="strap", human_ans_indices="(4, 9)", question_subj_level="5"),
            row(),
            row(human_ans_spans="is n't wide", human_ans_indices="(10, 21)"),
            row(human_ans_spans="strap", human_ans_indices="(4, 9)", is_ans_subjective="True"),
        ]
        found = read_subjqa(folder(rows))
        (label,) = found.labels
        strap, wide = AnswerSpan("strap", 4, 9), AnswerSpan("isn't wide", 10, 20)
        assert label.answers == (strap, wide)
        assert label.annotations == ((strap,), (), (wide,), (strap,))
        assert (label.question_id, label.review_id, label.item_id) == ("q1", "r1", "B00")
        assert (label.context, label.split) == (REVIEW, "test")
        assert label.meta == {
            "domain": "electronics",
            "is_ques_subjective": True,
            "question_subj_level": [5, 2, 2, 2],
            "is_ans_subjective": [False, False, False, True],
        }
        assert (found.repairs.exact, found.repairs.repaired) == (2, 1)
        assert (found.repairs.given_up, found.repairs.no_answer) == (0, 1)

    def test_what_cannot_be_found_is_given_up_and_listed(self, folder):
        found = read_subjqa(folder([row(human_ans_spans="OK strap"), row()]))
        assert found.repairs.given_up == 1
        assert found.repairs.given_up_rows == (GivenUp("test", "q1", "r1", "OK strap"),)
        (label,) = found.labels
        assert label.answers == ()
        assert label.annotations == ((),)
        assert label.meta[UNLOCATED] == ["OK strap"]

    def test_an_answer_into_the_button_is_given_up(self, folder):
        marked = row(human_ans_spans=f"OK. {NONE}", human_ans_indices="(27, 45)")
        assert read_subjqa(folder([marked])).repairs.given_up == 1

    def test_the_same_id_in_two_splits_is_two_labels(self, folder):
        folder([row()], "train")
        assert [label.split for label in read_subjqa(folder([row()])).labels] == ["train", "test"]

    def test_one_id_for_two_questions_is_an_error(self, folder):
        with pytest.raises(RecordError, match="'q1' stands for another question"):
            read_subjqa(folder([row(), row(question="Why?")]))

    @pytest.mark.parametrize("indices", ["", "12, 30", "(1, 2, 3)", "(-1, 4)", "__import__('os')"])
    def test_bad_indices_name_their_row(self, folder, indices):
        with pytest.raises(RecordError, match=r"human_ans_indices is .*test\.csv, line 3"):
            read_subjqa(folder([row(), row(human_ans_indices=indices)]))

    def test_bad_indices_do_not_cost_the_review(self, folder):
        path = folder([row(human_ans_indices="?")])
        assert [review.id for review in iter_reviews(path)] == ["r1"]

    def test_the_line_is_the_one_that_the_row_starts_on(self, folder):
        text = "One.\nTwo.\nThree."
        path = folder([row(review=text), row(review=text), row(review_id="")])
        with pytest.raises(RecordError, match="line 8"):
            read_subjqa(path)


class TestFolders:
    def test_some_splits_may_be_missing(self, folder):
        path = folder([row()], "dev")
        assert len(read_subjqa(path).labels) == 1
        with pytest.raises(DataError, match=r"no split 'test'.*Splits there: dev"):
            read_subjqa(path, split="test")

    def test_the_authors_folder_of_splits(self, folder, tmp_path):
        folder([row()], to=tmp_path / "splits")
        assert is_subjqa(tmp_path)
        assert len(read_subjqa(tmp_path, "test").labels) == 1

    def test_one_file(self, folder):
        file = folder([row()]) / "test.csv"
        assert is_subjqa(file)
        assert read_subjqa(file).labels[0].split == "test"

    def test_other_things_are_not_taken_for_it(self, folder, tmp_path):
        assert not is_subjqa(tmp_path)
        assert not is_subjqa(folder([{"id": "1", "text": "x"}]))
        (tmp_path / "x.bin").write_bytes(bytes(range(256)))
        assert not is_subjqa(tmp_path / "x.bin")

    def test_missing_columns_are_listed(self, folder):
        path = folder([row()], columns=[name for name in row() if name != "review"])
        with pytest.raises(DataError, match="columns review are missing"):
            read_subjqa(path)

    def test_no_data_says_what_to_name(self, tmp_path):
        with pytest.raises(DataError, match=r"train\.csv, dev\.csv or test\.csv"):
            read_subjqa(tmp_path / "nowhere")

    def test_a_row_with_too_few_fields(self, folder):
        path = folder([row()])
        with (path / "test.csv").open("a") as file:
            file.write("B00,electronics\n")
        with pytest.raises(RecordError, match=r"2 fields, the header 11"):
            read_subjqa(path)

    def test_a_byte_order_mark_is_no_part_of_the_header(self, folder):
        path = folder([row()])
        file = path / "test.csv"
        file.write_bytes(b"\xef\xbb\xbf" + file.read_bytes())
        assert is_subjqa(path)
        assert len(read_subjqa(path).labels) == 1


class TestSpanFinder:
    def test_the_nearest_of_several_places(self):
        finder = SpanFinder("It's ok. Really. It's ok. Sure. It's ok.")
        assert [finder.find("It 's ok", near).start for near in (0, 15, 20, 99)] == [0, 17, 17, 32]

    def test_punctuation_is_kept_where_it_can_be(self):
        assert SpanFinder("so (very) good!").find("( very ) good !", 0).text == "(very) good!"

    @pytest.mark.parametrize("span", ["", "  ", "nowhere", "…"])
    def test_nothing_to_find(self, span):
        assert SpanFinder("Good.").find(span, 0) is None

    @settings(max_examples=300)
    @given(st.text(max_size=60), st.data())
    def test_whatever_a_tokeniser_adds_is_taken_out_again(self, text, data):
        start = data.draw(st.integers(0, len(text)))
        end = data.draw(st.integers(start, len(text)))
        marked = text[start:end]
        gaps = data.draw(st.lists(st.sampled_from(["", " ", "  "]), min_size=len(marked)))
        tokenised = "".join(char + gap for char, gap in zip(marked, gaps, strict=False))
        found = SpanFinder(text).find(tokenised, start)
        if not marked.strip():
            assert found is None
            return
        first, last = end - len(text[start:end].lstrip()), start + len(text[start:end].rstrip())
        borders = (text[max(0, at - 1) : at + 1] for at in (first, last))
        if not any(len(border) == 2 and border.isalnum() for border in borders):
            assert text[found.start : found.end] == found.text
            assert "".join(found.text.split()) == "".join(marked.split())
            assert abs(found.start - start) <= abs(first - start)


class TestHub:
    ROW = {
        "domain": "books",
        "nn_mod": "interesting",
        "nn_asp": "matter",
        "query_mod": "fascinating",
        "query_asp": "part",
        "q_reviews_id": "a907837b",
        "question": "What are the parts like?",
        "question_subj_level": 2,
        "ques_subj_score": 0.0,
        "is_ques_subjective": False,
        "review_id": "r9",
        "id": "q9",
        "title": "0002007770",
        "context": "I was wrong. This is a wonderfully written book.",
        "answers": {
            "text": ["This is a wonderfully written book", "was n't"],
            "answer_start": [13, 2],
            "answer_subj_level": [2, 3],
            "ans_subj_score": [1.0, 0.0],
            "is_ans_subjective": [True, False],
        },
    }

    def test_a_row_for_each_answer(self):
        first, second = fields_of_hub_row(self.ROW)
        assert first["human_ans_indices"] == "(13, 47)"
        assert (first["is_ans_subjective"], second["is_ans_subjective"]) == (True, False)
        assert first["q_review_id"] == "q9"
        assert first["item_id"] == "0002007770"
        assert first["review"] == self.ROW["context"]

    def test_no_answers_are_one_annotator_who_found_none(self):
        empty = {key: [] for key in self.ROW["answers"]}
        (only,) = fields_of_hub_row(self.ROW | {"answers": empty})
        assert only["human_ans_spans"] == NONE

    def test_read_through_the_datasets_library(self, monkeypatch):
        calls = []
        library = ModuleType("datasets")

        def load_dataset(*args, **kwargs):
            calls.append((args, kwargs))
            return {"train": [], "validation": [self.ROW], "test": []}

        library.load_dataset = load_dataset
        monkeypatch.setitem(sys.modules, "datasets", library)
        found = read_subjqa("hub:subjqa/books", split="dev")
        assert calls == [(("megagonlabs/subjqa", "books"), {"revision": "refs/convert/parquet"})]
        (label,) = found.labels
        assert label.answers == (AnswerSpan("This is a wonderfully written book", 13, 47),)
        assert label.split == "dev"
        assert label.meta["answer_subj_level"] == [2, 3]
        assert found.repairs.given_up_rows[0].text == "was n't"
        assert is_subjqa("hub:subjqa/books")
        assert [review.id for review in iter_reviews("hub:subjqa/books")] == ["r9"]

    def test_without_the_library(self, monkeypatch):
        monkeypatch.setitem(sys.modules, "datasets", None)
        with pytest.raises(MissingDependencyError, match="pip install"):
            read_subjqa("hub:subjqa/books")

    def test_the_hub_is_not_there(self, monkeypatch):
        library = ModuleType("datasets")

        def load_dataset(*args, **kwargs):
            raise ConnectionError("no route")

        library.load_dataset = load_dataset
        monkeypatch.setitem(sys.modules, "datasets", library)
        with pytest.raises(DataError, match="ConnectionError: no route"):
            read_subjqa("hub:subjqa/books")


def test_the_sample_comes_exact(sample):
    found = read_subjqa(sample)
    assert found.repairs.repaired == found.repairs.given_up == 0
    assert {"product", "stars", "date"} <= found.reviews[0].meta.keys()
    assert isinstance(found.reviews[0].meta["stars"], int)


@pytest.fixture(scope="module")
def domains(qa_data: Path):
    return {name: read_subjqa(qa_data / "subjqa" / name) for name in DOMAINS}


@pytest.mark.data
class TestRealData:
    def test_electronics_has_the_figures_that_the_book_prints(self, domains):
        electronics = domains["electronics"]
        splits = [label.split for label in electronics.labels]
        assert [splits.count(name) for name in ("train", "dev", "test")] == [1295, 255, 358]
        assert len(electronics.reviews) == 1615
        assert len({review.item_id for review in electronics.reviews}) == 514

    def test_offsets_are_exact_and_enough_are_found(self, domains):
        repairs = [domain.repairs for domain in domains.values()]
        exact = sum(each.exact for each in repairs)
        found = exact + sum(each.repaired for each in repairs)
        given_up = sum(each.given_up for each in repairs)
        assert found + given_up == 6451
        assert exact == 5220
        assert found / 6451 >= 0.96
        assert given_up == sum(len(each.given_up_rows) for each in repairs)
        for domain in domains.values():
            for label in domain.labels:
                for spans in (label.answers, *label.annotations):
                    for span in spans:
                        assert label.context[span.start : span.end] == span.text

    def test_no_text_holds_the_button(self, domains):
        for domain in domains.values():
            assert not any(NONE in review.text for review in domain.reviews)

    def test_streamed_reviews_are_the_same(self, domains, qa_data):
        streamed = tuple(iter_reviews(qa_data / "subjqa" / "grocery"))
        assert streamed == domains["grocery"].reviews
