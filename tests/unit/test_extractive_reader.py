"""The reader against what one would write with transformers, and its own promises."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from haystack import Document
from hypothesis import given
from hypothesis import strategies as st

from qa_system.errors import ConfigError, EmptyQuestionError, ModelError, QuestionTooLongError
from qa_system.readers.extractive import ExtractiveReader, snippet

QUESTIONS = ["How long does the battery last?", "How is the zipper?"]
REVIEWS = [
    "Light and small. The battery lasts ten hours, sometimes eleven, and charges in two.",
    "The zipper broke after a week!! Bag itself is fine - I've glued it.\n\nWould not buy again.",
    "My son loves the colour. " * 40 + "The battery died on day two. " + "Nice box. " * 60,
    "ok",
]
DOCUMENTS = [Document(id=f"r{number}", content=text) for number, text in enumerate(REVIEWS)]
ALWAYS = -1000.0


@pytest.fixture(scope="module")
def bundled() -> ExtractiveReader:
    reader = ExtractiveReader(no_answer_threshold=ALWAYS)
    reader.warm_up()
    return reader


@pytest.fixture(scope="module")
def tiny(
    tmp_path_factory: pytest.TempPathFactory, save_checkpoint: Callable[[Any, Path], Path]
) -> Path:
    """A reader with random weights, as anybody could have saved it."""
    torch = pytest.importorskip("torch")
    from transformers import BertConfig, BertForQuestionAnswering

    folder = tmp_path_factory.mktemp("tiny")
    torch.manual_seed(13)
    config = BertConfig(
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        initializer_range=0.6,
    )
    return save_checkpoint(BertForQuestionAnswering(config), folder)


def plain_answer(folder: Path, question: str, text: str) -> tuple[str, float]:
    """The best span of one review: a forward pass a window, a duplicate loop over spans."""
    import torch
    from transformers import AutoModelForQuestionAnswering, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForQuestionAnswering.from_pretrained(folder, dtype=torch.float32).eval()
    encoded = tokenizer(
        question,
        text,
        truncation="only_second",
        max_length=384,
        stride=128,
        return_overflowing_tokens=True,
        return_offsets_mapping=True,
        return_token_type_ids=True,
    )
    best = ("", -float("inf"))
    for number in range(len(encoded["input_ids"])):
        features = {
            name: torch.tensor([encoded[name][number]])
            for name in ("input_ids", "attention_mask", "token_type_ids")
        }
        with torch.no_grad():
            output = model(**features)
        start, end = output.start_logits[0], output.end_logits[0]
        null = (start[0] + end[0]).item()
        context = [i for i, of in enumerate(encoded.sequence_ids(number)) if of == 1]
        for i in context:
            for j in context:
                if i <= j < i + 40:
                    score = (start[i] + end[j]).item() - null
                    if score > best[1]:
                        offsets = encoded["offset_mapping"][number]
                        best = (text[offsets[i][0] : offsets[j][1]], score)
    return best


def assert_plain(folder: Path, **options: Any) -> None:
    reader = ExtractiveReader(
        str(folder), precision="fp32", device="cpu", no_answer_threshold=ALWAYS, **options
    )
    for question in QUESTIONS:
        readings = reader.read([question] * 3, [[document] for document in DOCUMENTS[:3]], top_k=1)
        for reading, text in zip(readings, REVIEWS, strict=False):
            expected, score = plain_answer(folder, question, text)
            assert reading.answers[0].data == expected
            assert reading.answers[0].meta["log_odds"] == pytest.approx(score, abs=1e-3)


def test_it_gives_the_answers_of_a_plain_implementation(tiny: Path) -> None:
    assert_plain(tiny)


@pytest.mark.slow
def test_it_gives_them_on_the_real_checkpoint(reader_seed: Path) -> None:
    assert_plain(reader_seed)


@pytest.mark.slow
def test_the_fp32_export_gives_them_too(tiny: Path, tmp_path: Path) -> None:
    pytest.importorskip("onnx")
    from qa_system.export.onnx import export_model

    export_model(tiny, tmp_path / "export", task="reader", precision="fp32")
    exported = ExtractiveReader(str(tmp_path / "export"), no_answer_threshold=ALWAYS)
    torch = ExtractiveReader(str(tiny), precision="fp32", no_answer_threshold=ALWAYS)
    for question in QUESTIONS:
        theirs, ours = torch.run(question, DOCUMENTS), exported.run(question, DOCUMENTS)
        assert [a.data for a in ours["answers"]] == [a.data for a in theirs["answers"]]
        assert ours["no_answer_probability"] == pytest.approx(
            theirs["no_answer_probability"], abs=1e-4
        )


def test_bf16_is_near_fp32(tiny: Path) -> None:
    full = ExtractiveReader(str(tiny), precision="fp32", no_answer_threshold=ALWAYS)
    half = ExtractiveReader(str(tiny), precision="bf16", no_answer_threshold=ALWAYS)
    near = half.run(QUESTIONS[0], DOCUMENTS)["answers"][0].meta["log_odds"]
    assert near == pytest.approx(
        full.run(QUESTIONS[0], DOCUMENTS)["answers"][0].meta["log_odds"], rel=0.1
    )


def test_answers_stand_where_they_say(bundled: ExtractiveReader) -> None:
    for question in QUESTIONS:
        answers = bundled.run(question, DOCUMENTS, top_k=10)["answers"]
        assert len(answers) == 10
        scores = [answer.meta["log_odds"] for answer in answers]
        assert scores == sorted(scores, reverse=True)
        for answer in answers:
            span, text = answer.document_offset, answer.document.content
            assert text[span.start : span.end] == answer.data == answer.data.strip()
            inside = answer.context_offset
            assert answer.context[inside.start : inside.end] == answer.data
            assert 0 <= answer.score <= 1
            assert answer.query == question
        for document in DOCUMENTS:
            spans = [a.document_offset for a in answers if a.document.id == document.id]
            for one in spans:
                for other in spans:
                    assert one is other or one.end <= other.start or other.end <= one.start


def test_the_answer_is_found_deep_in_a_long_review(bundled: ExtractiveReader) -> None:
    [answer] = bundled.run("How is the battery?", [DOCUMENTS[2]], top_k=1)["answers"]
    assert "battery" in answer.context
    assert answer.document_offset.start > 900


def test_many_questions_in_one_call_are_answered_each_for_itself(tiny: Path) -> None:
    reader = ExtractiveReader(str(tiny), precision="fp32", no_answer_threshold=ALWAYS)
    together = reader.read(QUESTIONS, [DOCUMENTS, DOCUMENTS[:2]])
    for question, documents, reading in zip(
        QUESTIONS, [DOCUMENTS, DOCUMENTS[:2]], together, strict=True
    ):
        alone = reader.run(question, documents)
        assert [a.data for a in reading.answers] == [a.data for a in alone["answers"]]
        assert reading.no_answer_probability == pytest.approx(alone["no_answer_probability"])


@pytest.mark.parametrize("batch_tokens", [1, 300, 10_000])
def test_the_size_of_batches_changes_nothing(tiny: Path, batch_tokens: int) -> None:
    usual = ExtractiveReader(str(tiny), precision="fp32", no_answer_threshold=ALWAYS)
    other = ExtractiveReader(
        str(tiny), precision="fp32", no_answer_threshold=ALWAYS, batch_tokens=batch_tokens
    )
    for one, two in zip(
        usual.run(QUESTIONS[0], DOCUMENTS)["answers"],
        other.run(QUESTIONS[0], DOCUMENTS)["answers"],
        strict=True,
    ):
        assert one.data == two.data
        assert one.meta["log_odds"] == pytest.approx(two.meta["log_odds"], abs=1e-4)


def test_the_threshold_decides_and_zero_counts_as_one() -> None:
    """Log-odds in front of the threshold are abstention; 0.0 is a threshold, not "not given"."""
    free = ExtractiveReader(no_answer_threshold=ALWAYS).run(QUESTIONS[0], DOCUMENTS, top_k=10)
    odds = [answer.meta["log_odds"] for answer in free["answers"]]
    for threshold in (0.0, odds[2], odds[0] + 1):
        reader = ExtractiveReader(no_answer_threshold=threshold)
        assert reader.calibration.threshold == threshold
        [reading] = reader.read([QUESTIONS[0]], [DOCUMENTS], top_k=10)
        assert len(reading.answers) == sum(value >= threshold for value in odds)
        assert [c.meta["log_odds"] for c in reading.candidates] == pytest.approx(odds)


def test_probability_by_hand() -> None:
    """sigmoid((log_odds - center) / temperature), each probability with a center of its own."""
    import math

    reader = ExtractiveReader(temperature=2.0)
    [reading] = reader.read([QUESTIONS[0]], [DOCUMENTS])
    fitted = reader.calibration

    def probability(log_odds: float, center: float) -> float:
        return 1 / (1 + math.exp(-(log_odds - center) / 2.0))

    for candidate in reading.candidates:
        right = probability(candidate.meta["log_odds"], fitted.right.center)
        assert candidate.score == pytest.approx(right)
    there = probability(reading.candidates[0].meta["log_odds"], fitted.answerable.center)
    assert reading.no_answer_probability == pytest.approx(1 - there)
    assert fitted.right.center > fitted.answerable.center


def test_nothing_to_read_is_no_answer(bundled: ExtractiveReader) -> None:
    empty = [Document(id="none"), Document(id="empty", content=""), Document(id="w", content=" ")]
    for documents in ([], empty):
        result = bundled.run(QUESTIONS[0], documents)
        assert result["answers"] == []
        assert result["no_answer_probability"] == 1.0
        assert result["decision"].score is None
        assert result["decision"].abstains
    assert bundled.read([], []) == []


def test_token_types_matter_and_are_given(tiny: Path) -> None:
    """FACTS: a reader that drops them answers a quarter of the questions differently."""
    import torch
    from transformers import BertForQuestionAnswering

    model = BertForQuestionAnswering.from_pretrained(tiny)
    with torch.no_grad():
        model.bert.embeddings.token_type_embeddings.weight[1] += 5.0
    model.save_pretrained(tiny.parent / "typed")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (tiny.parent / "typed" / name).write_bytes((tiny / name).read_bytes())
    assert_plain(tiny.parent / "typed")


def test_errors_are_named(bundled: ExtractiveReader, tmp_path: Path) -> None:
    with pytest.raises(EmptyQuestionError):
        bundled.run("  ", DOCUMENTS)
    with pytest.raises(QuestionTooLongError):
        bundled.run("why " * 400, DOCUMENTS)
    with pytest.raises(ConfigError, match="top_k is 0"):
        bundled.run(QUESTIONS[0], DOCUMENTS, top_k=0)
    with pytest.raises(ConfigError, match="2 questions came with 1"):
        bundled.read(QUESTIONS, [DOCUMENTS])
    for options in ({"top_k": 0}, {"temperature": 0.0}, {"max_seq_length": 4}, {"stride": -1}):
        with pytest.raises(ConfigError):
            ExtractiveReader(**options)
    with pytest.raises(ConfigError, match="positions"):
        ExtractiveReader(max_seq_length=1024).warm_up()
    with pytest.raises(ModelError, match=r"not\s+a reader"):
        ExtractiveReader("bundled:encoder").warm_up()
    with pytest.raises(ModelError):
        ExtractiveReader(str(tmp_path)).warm_up()


def test_a_checkpoint_without_a_trained_head_is_refused(tmp_path: Path, tiny: Path) -> None:
    from transformers import BertModel

    BertModel.from_pretrained(tiny).save_pretrained(tmp_path)
    (tmp_path / "tokenizer.json").write_bytes((tiny / "tokenizer.json").read_bytes())
    with pytest.raises(ModelError, match="no weights for qa_outputs"):
        ExtractiveReader(str(tmp_path)).warm_up()


def test_every_argument_is_serialised() -> None:
    import inspect

    given = {
        "model": "bundled:reader",
        "backend": "onnx",
        "precision": "int8",
        "device": "cpu",
        "top_k": 5,
        "max_seq_length": 256,
        "stride": 64,
        "max_answer_length": 20,
        "evidence": "reviews",
        "budget": 256,
        "no_answer_threshold": 0.0,
        "temperature": 3.0,
        "batch_tokens": 1024,
        "threads": 1,
        "snippet_chars": 80,
    }
    assert set(given) == set(inspect.signature(ExtractiveReader.__init__).parameters) - {"self"}
    data = ExtractiveReader(**given).to_dict()
    assert data["init_parameters"] == given
    assert ExtractiveReader.from_dict(data).to_dict() == data


def test_threads_share_a_reader(bundled: ExtractiveReader) -> None:
    alone = [bundled.run(question, DOCUMENTS)["answers"] for question in QUESTIONS]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda q: bundled.run(q, DOCUMENTS)["answers"], QUESTIONS * 4))
    for number, answers in enumerate(together):
        expected = alone[number % 2]
        assert [replace(a, document=None) for a in answers] == [
            replace(a, document=None) for a in expected
        ]


@given(
    text=st.text(st.sampled_from("ab é😀\n"), min_size=1, max_size=80),
    data=st.data(),
    size=st.integers(1, 60),
)
def test_snippets_hold_the_answer_and_cut_no_word(
    text: str, data: st.DataObject, size: int
) -> None:
    start = data.draw(st.integers(0, len(text) - 1))
    end = data.draw(st.integers(start + 1, len(text)))
    cut, offset = snippet(text, start, end, size)
    assert cut[offset : offset + end - start] == text[start:end]
    inner = cut.removeprefix("… ").removesuffix(" …")
    assert inner in text
    assert len(inner) <= max(size, end - start)
    before = text[: start - (offset - (2 if cut.startswith("… ") else 0))]
    if offset > 2 and cut.startswith("… ") and before and not text[start - 1].isspace():
        assert before[-1].isspace() or len(before) == start


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_scores_that_are_no_numbers_are_an_error(value: float) -> None:
    from qa_system.readers.backends import score_windows
    from qa_system.readers.windows import Window

    class Broken:
        pads, pad_id, workers = False, 0, 2

        def logits(self, input_ids, attention_mask, token_type_ids):
            scores = np.zeros(input_ids.shape, dtype=np.float32)
            scores[:, 2] = value
            return scores, scores

    ids = np.arange(4)
    window = Window(ids, np.zeros(4, dtype=np.int64), 1, np.array([[0, 1], [2, 3], [4, 5]]))
    with pytest.raises(ModelError, match="NaN or infinity"):
        score_windows(Broken(), [window, window], 100)
