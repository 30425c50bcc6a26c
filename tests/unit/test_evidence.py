"""Which stretches of reviews are read: properties of the choice, and the reader that reads them."""

import math
import shutil
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import pytest
from haystack import Document
from hypothesis import given
from hypothesis import strategies as st

from qa_system.models.inference import load_tokenizer
from qa_system.models.locate import locate
from qa_system.readers.calibration import Calibration, keep_calibration
from qa_system.readers.evidence import Stretch, candidates_of, choose, windows_of
from qa_system.readers.extractive import ExtractiveReader
from qa_system.readers.windows import Window, WindowCutter
from qa_system.texts.sentences import sentences

QUESTION = "How long does the battery last?"
CUTTER = WindowCutter(load_tokenizer(locate("bundled:reader").path), max_seq_length=64, stride=16)
ROOM = CUTTER.room_beside(QUESTION)
WORDS = [
    "The",
    "battery",
    "lasts",
    "ten",
    "hours.",
    "naïve",
    "😀",
    "No!",
    "$5.99",
    "a" * 70,
    "\n\n",
]
texts = st.lists(st.sampled_from(WORDS), min_size=1, max_size=120).map(" ".join)


def listed(text: str, scores: Sequence[float]) -> list[list[float]]:
    """The sentences of a text as the retriever lists them, best first."""
    spans = sentences(text)
    found = [
        [start, end, score, spans[max(at - 1, 0)][0], spans[min(at + 1, len(spans) - 1)][1]]
        for at, ((start, end), score) in enumerate(zip(spans, scores, strict=False))
    ]
    return sorted(found, key=lambda each: -each[2])


@st.composite
def reviews(draw: st.DrawFn) -> list[Document]:
    """Reviews of which some of the sentences were found."""
    scores = st.lists(st.sampled_from([0.1, 0.5, 0.9]), min_size=1, max_size=30)
    return [
        Document(id=f"r{number}", content=text, meta={"sentences": listed(text, draw(scores))})
        for number, text in enumerate(draw(st.lists(texts, min_size=1, max_size=4)))
    ]


def chosen(documents: Sequence[Document], budget: int) -> dict[str, list[Stretch]]:
    found = choose(
        candidates_of(documents),
        [document.content or "" for document in documents],
        CUTTER.token_ends,
        ROOM,
        budget,
    )
    return {document.id: own for document, own in zip(documents, found, strict=True)}


def read(documents: Sequence[Document], budget: int | None) -> list[list[Window]]:
    [windows] = windows_of(CUTTER, [QUESTION], [documents], budget)
    return windows


@given(documents=reviews(), budget=st.integers(1, 600))
def test_stretches_are_apart_and_in_the_review(documents: list[Document], budget: int) -> None:
    for document in documents:
        own = chosen(documents, budget)[document.id]
        for one in own:
            assert 0 <= one.start < one.end <= len(document.content or "")
        for one, following in pairwise(own):
            assert (document.content or "")[one.end : following.start].strip()


@given(documents=reviews(), budget=st.integers(1, 600))
def test_the_budget_is_kept_but_for_the_best_sentence(
    documents: list[Document], budget: int
) -> None:
    tokens = [len(window) for own in read(documents, budget) for window in own]
    has_sentences = bool(candidates_of(documents))
    assert bool(tokens) == has_sentences
    assert sum(tokens) <= budget or (len(tokens) == 1 and tokens[0] <= CUTTER.max_seq_length)


@given(documents=reviews(), budget=st.integers(1, 400), more=st.integers(0, 400))
def test_a_larger_budget_reads_all_that_a_smaller_one_reads(
    documents: list[Document], budget: int, more: int
) -> None:
    larger = chosen(documents, budget + more)
    for name, own in chosen(documents, budget).items():
        for one in own:
            assert any(each.start <= one.start and one.end <= each.end for each in larger[name])


@given(documents=reviews(), budget=st.integers(1, 600), data=st.data())
def test_the_order_of_the_documents_changes_nothing(
    documents: list[Document], budget: int, data: st.DataObject
) -> None:
    shuffled = data.draw(st.permutations(documents))
    assert chosen(shuffled, budget) == chosen(documents, budget)


@given(documents=reviews(), budget=st.integers(1, 600))
def test_offsets_are_those_of_the_review(documents: list[Document], budget: int) -> None:
    whole = {
        (at, place, token)
        for at, windows in enumerate(read(documents, None))
        for window in windows
        for place, token in zip(
            map(tuple, window.offsets.tolist()),
            window.input_ids[window.context_start :].tolist(),
            strict=False,
        )
    }
    for at, windows in enumerate(read(documents, budget)):
        for window in windows:
            ids = window.input_ids[window.context_start :].tolist()
            for place, token in zip(map(tuple, window.offsets.tolist()), ids, strict=False):
                assert (at, place, token) in whole or "a" * 60 in (documents[at].content or "")


def test_neighbours_are_read_and_what_touches_is_one_stretch() -> None:
    text = "One is red. Two is low. Three is far. Four is old. Five is big. Six is new."
    spans = sentences(text)
    second, fifth = [each for each in listed(text, [0, 0.9, 0, 0, 0.8, 0]) if each[2]]
    document = Document(id="r", content=text, meta={"sentences": [second, fifth]})
    assert chosen([document], 1000)["r"] == [Stretch(0, len(text))]
    first_only = ROOM.overhead + len(CUTTER.token_ends(text[: spans[2][1]]))
    assert chosen([document], first_only)["r"] == [Stretch(0, spans[2][1])]
    assert chosen([document], 1)["r"] == [Stretch(0, spans[2][1])]


@pytest.mark.parametrize(
    "given", [None, [], "no", 7, [[0, 5]], [[0, 50, 1.0, 0, 50]], [[3, 2, 1.0, 0, 5]], [["a"] * 5]]
)
def test_a_document_without_sentences_is_read_whole(given: object) -> None:
    meta = {} if given is None else {"sentences": given}
    document = Document(id="r", content="It lasts. " * 2, meta=meta)
    assert [len(windows) for windows in read([document], 1)] == [1]
    assert [window.offsets[-1, 1] for window in read([document], 1)[0]] == [19]


def test_only_what_is_read_of_a_long_review_is_tokenised() -> None:
    seen: list[int] = []

    def token_ends(text: str) -> list[int]:
        seen.append(len(text))
        return CUTTER.token_ends(text)

    text = "It lasts for ten hours. " * 5000
    document = Document(id="r", content=text, meta={"sentences": listed(text, [0.5] * 5000)})
    choose(candidates_of([document]), [text], token_ends, ROOM, 256)
    assert sum(seen) < 5000


def test_the_reader_reads_sentences_and_says_how_many_reviews() -> None:
    texts = [
        "Nice. The battery lasts ten hours. I like it. It is red. It is new. It has a lid.",
        "It came late. The box was old.",
        "No sentences here, and the battery lasts two days.",
    ]
    documents = [
        Document(id="r0", content=texts[0], meta={"sentences": listed(texts[0], [0.1, 0.9])[:1]}),
        Document(id="r1", content=texts[1], meta={"sentences": listed(texts[1], [0.2])}),
        Document(id="r2", content=texts[2]),
        Document(id="r3", content=""),
    ]
    reader = ExtractiveReader(budget=40, no_answer_threshold=-1000.0)
    [reading] = reader.read([QUESTION], [documents])
    assert reading.read == 2
    assert [math.isfinite(odds) for odds in reading.log_odds] == [True, False, True, False]
    places = {answer.document.id: answer.document_offset for answer in reading.candidates}
    assert places["r0"].end <= texts[0].index(" It is red")
    for answer in reading.candidates:
        place = answer.document_offset
        assert answer.document.content[place.start : place.end] == answer.data
    [whole] = ExtractiveReader(evidence="reviews").read([QUESTION], [documents])
    assert whole.read == 3


def test_no_answer_lies_in_the_title_and_the_text() -> None:
    content = "The battery\nlasts ten hours. Good."
    meta = {"title": "The battery", "sentences": [[0, 11, 0.9, 0, 28], [12, 28, 0.8, 0, 34]]}
    document = Document(id="r", content=content, meta=meta)
    reader = ExtractiveReader(no_answer_threshold=-1000.0, top_k=20)
    for answer in reader.read([QUESTION], [[document]])[0].candidates:
        assert answer.document_offset.end <= 11 or answer.document_offset.start >= 12


def test_sentences_have_a_calibration_of_their_own(root: Path, tmp_path: Path) -> None:
    mine = tmp_path / "reader"
    shutil.copytree(root / "models" / "reader", mine)
    apart = Calibration(threshold=1000.0, fitted_on="sentences")
    keep_calibration(apart, locate(str(mine)), of_sentences=True)
    text = "The battery lasts ten hours. I like it."
    document = Document(id="r", content=text)
    divided = Document(id="s", content=text, meta={"sentences": listed(text, [0.9])})
    reader = ExtractiveReader(str(mine))
    [whole], [sentence], [mixed] = (
        reader.read([QUESTION], [each]) for each in ([document], [divided], [document, divided])
    )
    assert reader.calibration_of_sentences == apart
    assert whole.decision.threshold == reader.calibration.right(reader.calibration.threshold)
    assert whole.answers
    assert not sentence.answers
    assert not mixed.answers
    [as_review] = ExtractiveReader(str(mine), evidence="reviews").read([QUESTION], [[divided]])
    assert [each.data for each in as_review.answers] == [each.data for each in whole.answers]
