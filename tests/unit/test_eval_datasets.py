import pytest

from eval.datasets import load_dataset, load_labels
from qa_system.datasets.jsonl import write_labels_jsonl
from qa_system.datasets.squad import write_squad
from qa_system.errors import DataError
from qa_system.labels import UNLOCATED, gold_documents, gold_texts
from qa_system.records import AnswerSpan, Label


def label(*answers, **fields):
    return Label("q", "?", "B00", "r", "Good.", answers, **fields)


def test_gold_texts_are_distinct():
    spans = AnswerSpan("Good", 0, 4), AnswerSpan("o", 1, 2), AnswerSpan("o", 2, 3)
    assert gold_texts(label(*spans)) == ("Good", "o")
    assert gold_documents(label(*spans)) == {"r"}


def test_unlocated_answers_count_only_where_there_is_no_other():
    lost = {UNLOCATED: ["very Good"]}
    assert gold_texts(label(meta=lost)) == ("very Good",)
    assert gold_documents(label(meta=lost)) == {"r"}
    assert gold_texts(label(AnswerSpan("Good", 0, 4), meta=lost)) == ("Good",)


def test_no_answer_has_no_gold():
    assert gold_texts(label()) == ()
    assert gold_documents(label()) == frozenset()


def test_a_subjqa_folder_is_recognised(sample):
    data = load_dataset(sample)
    assert data.splits == ("train", "dev", "test")
    assert data.repairs is not None
    assert {found.split for found in load_labels(sample, "dev")} == {"dev"}
    assert len(data.labels_of(None)) == sum(len(data.labels_of(split)) for split in data.splits)


def test_a_squad_file_is_recognised(sample, tmp_path):
    labels = load_labels(sample, "dev")
    write_squad(labels, tmp_path / "dev.json")
    data = load_dataset(tmp_path / "dev.json")
    assert len(data.labels) == len(labels)
    assert {review.id for review in data.reviews} == {found.review_id for found in labels}


def test_json_lines_are_recognised(sample, tmp_path):
    labels = load_labels(sample, "dev")
    write_labels_jsonl(labels, tmp_path / "dev.jsonl")
    data = load_dataset(tmp_path / "dev.jsonl")
    assert (data.labels, data.splits, data.remarks) == (labels, ("dev",), ())
    assert {review.id for review in data.reviews} == {found.review_id for found in labels}


HEADER = "item_id,q_review_id,question,review_id,review,human_ans_spans,human_ans_indices\n"


def domain(folder, *lines, split="test"):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{split}.csv").write_text(HEADER + "\n".join(lines))


def test_a_folder_of_domains_is_one_data_set(sample, tmp_path):
    domain(tmp_path / "b", 'B00,q1,How?,r1,Good. ANSWERNOTFOUND,Good,"(0, 4)"')
    domain(tmp_path / "a" / "splits", 'A00,q1,How?,r2,Bad.,so bad,"(0, 6)"', split="train")
    domain(tmp_path / "a", 'A00,q2,How?,r2,Bad.,B a d,"(0, 5)"')
    (tmp_path / "notes").mkdir()
    (tmp_path / "README.md").write_text("not a domain")
    data = load_dataset(tmp_path)
    assert [(one.split, one.question_id, one.meta["domain"]) for one in data.labels] == [
        ("train", "q1", "a"),
        ("test", "q2", "a"),
        ("test", "q1", "b"),
    ]
    assert {review.id for review in data.reviews} == {"r1", "r2"}
    repairs = data.repairs
    assert (repairs.exact, repairs.repaired, repairs.given_up, repairs.no_answer) == (1, 1, 1, 0)
    assert [given_up.text for given_up in repairs.given_up_rows] == ["so bad"]
    one = load_dataset(sample)
    (tmp_path / "c").symlink_to(sample)
    assert len(load_dataset(tmp_path).labels) == len(one.labels) + 3
    # What a file says itself of its domain stands.
    assert load_dataset(tmp_path).labels[-1].meta["domain"] == "sample"


def test_domains_that_cannot_be_told_apart(tmp_path):
    domain(tmp_path / "a", 'A00,q1,How?,r1,Good.,ANSWERNOTFOUND,"(0, 0)"')
    domain(tmp_path / "b", 'A00,q1,How?,r1,Good.,ANSWERNOTFOUND,"(0, 0)"')
    with pytest.raises(DataError, match=r"'q1' occurs twice in split 'test' \(.*/a and .*/b\)"):
        load_dataset(tmp_path)
    domain(tmp_path / "b", 'A01,q2,How?,r1,Good.,ANSWERNOTFOUND,"(0, 0)"')
    with pytest.raises(DataError, match=r"'r1' stands for two texts or two items \(.*/a and .*/b"):
        load_dataset(tmp_path)


def test_an_unknown_split_lists_those_there(sample, tmp_path):
    with pytest.raises(DataError, match=r"no split 'validation'.*train, dev, test"):
        load_labels(sample, "validation")
    path = tmp_path / "one.jsonl"
    path.write_text('{"question": "Is it?", "context": "Good.", "answers": []}')
    with pytest.raises(DataError, match="Name no split"):
        load_labels(path, "test")


@pytest.mark.parametrize("make", [lambda path: None, lambda path: path.mkdir()])
def test_anything_else_says_what_to_name(tmp_path, make):
    make(tmp_path / "x")
    with pytest.raises(DataError, match=r"SubjQA folder .* SQuAD JSON .* \.jsonl"):
        load_dataset(tmp_path / "x")


def test_a_damaged_squad_file_says_what_is_wrong(tmp_path):
    (tmp_path / "x.json").write_text('{"data": 5}')
    with pytest.raises(DataError, match="'data' is not a list"):
        load_dataset(tmp_path / "x.json")


def test_the_digest_changes_with_the_labels(sample, tmp_path):
    one, two = load_labels(sample, "dev"), load_labels(sample, "dev")[:-1]
    write_squad(one, tmp_path / "one.json")
    write_squad(two, tmp_path / "two.json")
    digests = {load_dataset(tmp_path / f"{name}.json").sha256 for name in ("one", "two")}
    assert len(digests) == 2
    assert load_dataset(tmp_path / "one.json").sha256 in digests
