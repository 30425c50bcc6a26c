"""The extractive reader: a question and reviews in, short answers with their places out."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from threading import Lock
from typing import Any, Literal, get_args

from haystack import Document, component, default_from_dict, default_to_dict
from haystack.dataclasses import ExtractedAnswer

from qa_system.arguments import check_choice, check_question, check_texts, checked
from qa_system.config import ReaderSettings
from qa_system.config.choices import Evidence
from qa_system.errors import ConfigError, InvalidArgumentError
from qa_system.models.locate import locate, stamp
from qa_system.models.sharing import Shared
from qa_system.readers.backends import ReaderBackend, load_backend, score_windows
from qa_system.readers.calibration import Calibration
from qa_system.readers.evidence import has_sentences, windows_of
from qa_system.readers.reading import Reading, reading_of
from qa_system.readers.spans import Span, best_spans
from qa_system.readers.windows import WindowCutter
from qa_system.records import Decision, title_end
from qa_system.stages import stage
from qa_system.ties import best_first

__all__ = ["ExtractiveReader", "Reading", "refuse_unpaired", "snippet"]

DEFAULTS = ReaderSettings()

CPU_BATCH_TOKENS = 512
"""Tokens of a forward pass: on a CPU, what stays in the caches beats what fills the threads."""

GPU_BATCH_TOKENS = 65536

INT8_BATCH_TOKENS = 1
"""Each window alone: int8 has one scale for all activations of a pass, so a window's logits would
depend on its company, and an answer on what else was asked. On a CPU it costs nothing."""

SPANS = 64
"""Candidates of a question: as many as there are sentences that may be quoted."""
QUESTIONS_AT_ONCE = 256
"""Questions whose windows are held at a time, however many are asked in one call."""


@component
@checked
class ExtractiveReader:
    """Find the spans of reviews that answer a question.

    Every review is read in overlapping windows; a span's log-odds are compared with the null
    token of its own window (see `spans`), so answers from different reviews rank together. An
    answer's `score` is the calibrated probability that it is right, and `no_answer_probability`
    that the most promising review has no answer. Reviews of one item are about the same thing, so
    their probabilities are not independent; a product over reviews, which sinks with each review
    read, would claim an answer in any large pile of reviews.

    Loading happens on first use, or by `warm_up`. One reader may be used by many threads, and
    readers of the same model have one copy of it in memory.

    Args:
        model: `bundled:NAME`, a folder (an export of `qa export`, or a checkpoint), or a Hub id.
        backend: `onnx`, `torch`, or `auto`: the one that the model is for.
        precision: `fp32`, `bf16`, `fp16`, `int8`, or `auto`: what the export holds; for a
            checkpoint bf16 where the hardware multiplies it.
        device: `cpu`, `cuda`, or `auto`.
        top_k: answers at most.
        max_seq_length: tokens of a window: question, a part of the review, special tokens.
        stride: tokens of the review that neighbouring windows share.
        max_answer_length: tokens of an answer at most.
        evidence: `sentences` reads the best sentences that a `SentenceRetriever` found, each with
            its neighbours; `reviews`, and a document without sentences, are read whole.
        budget: tokens of the windows of sentences that are read for a question, its own tokens
            and special ones included. The best sentence is read whatever it costs.
        no_answer_threshold: log-odds from which on an answer is given; None takes the one fitted
            with the model, or 0.
        temperature: log-odds in one unit of calibrated log-odds; None takes the one fitted with
            the model, or 1.
        batch_tokens: padded tokens of a forward pass; None takes what measured best, and in
            int8 reads each window alone, so that its answer depends on nothing else.
        threads: on the CPU: windows that an export reads side by side, or threads inside a
            checkpoint's forward pass; None takes all cores.
        snippet_chars: characters of an answer's context, at most, unless the answer is longer.

    Raises:
        ConfigError: a number is out of its range.

    >>> reader = ExtractiveReader(no_answer_threshold=-20)
    >>> review = Document(content="Light and small. The battery lasts ten hours.")
    >>> answer = reader.run("How long does the battery last?", [review])["answers"][0]
    >>> answer.data == review.content[answer.document_offset.start : answer.document_offset.end]
    True
    """

    def __init__(
        self,
        model: str = DEFAULTS.model,
        backend: Literal["auto", "onnx", "torch"] = DEFAULTS.backend,
        precision: Literal["auto", "fp32", "bf16", "fp16", "int8"] = DEFAULTS.precision,
        device: str = DEFAULTS.device,
        top_k: int = 3,
        max_seq_length: int = DEFAULTS.max_seq_length,
        stride: int = DEFAULTS.stride,
        max_answer_length: int = DEFAULTS.max_answer_length,
        evidence: Evidence = DEFAULTS.evidence,
        budget: int = DEFAULTS.budget,
        no_answer_threshold: float | None = DEFAULTS.no_answer_threshold,
        temperature: float | None = DEFAULTS.temperature,
        batch_tokens: int | None = DEFAULTS.batch_tokens,
        threads: int | None = DEFAULTS.threads,
        snippet_chars: int = DEFAULTS.snippet_chars,
    ) -> None:
        if temperature is not None and not temperature > 0:
            raise ConfigError(f"temperature is {temperature}", remedy="Set it above 0.")
        check_choice("evidence", evidence, get_args(Evidence))
        if no_answer_threshold is not None and math.isnan(no_answer_threshold):
            raise ConfigError("no_answer_threshold is not a number", remedy="Set a number.")
        self.model = model
        self.backend = backend
        self.precision = precision
        self.device = device
        self.top_k = top_k
        self.max_seq_length = max_seq_length
        self.stride = stride
        self.max_answer_length = max_answer_length
        self.evidence = evidence
        self.budget = budget
        self.no_answer_threshold = no_answer_threshold
        self.temperature = temperature
        self.batch_tokens = batch_tokens
        self.threads = threads
        self.snippet_chars = snippet_chars
        self._loaded: _Loaded | None = None
        self._loading = Lock()

    def to_dict(self) -> dict[str, Any]:
        """Serialise every argument."""
        return default_to_dict(
            self,
            model=self.model,
            backend=self.backend,
            precision=self.precision,
            device=self.device,
            top_k=self.top_k,
            max_seq_length=self.max_seq_length,
            stride=self.stride,
            max_answer_length=self.max_answer_length,
            no_answer_threshold=self.no_answer_threshold,
            temperature=self.temperature,
            batch_tokens=self.batch_tokens,
            threads=self.threads,
            snippet_chars=self.snippet_chars,
            # Left out where it is the default: a pipeline of 0.1 is dumped as it was.
            **({} if self.evidence == DEFAULTS.evidence else {"evidence": self.evidence}),
            **({} if self.budget == DEFAULTS.budget else {"budget": self.budget}),
        )

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> ExtractiveReader:
        """Build the component from what `to_dict` returned."""
        return default_from_dict(cls, data)

    def warm_up(self) -> None:
        """Load the model.

        Raises:
            ModelError: it is missing, damaged, not a reader, or cannot run as asked.
            MissingDependencyError: what it runs on is not installed.
            ConfigError: `max_seq_length` is more than the model has positions.
        """
        self._ready()

    @property
    def calibration(self) -> Calibration:
        """The threshold and temperature in force: the arguments, else the model's own.

        Where the best sentences are read, it is `calibration_of_sentences`.
        """
        return self._ready().calibration

    @property
    def calibration_of_sentences(self) -> Calibration:
        """The threshold and temperature in force where the best sentences are read."""
        return self._ready().of_sentences

    @component.output_types(
        answers=list[ExtractedAnswer],
        candidates=list[ExtractedAnswer],
        no_answer_probability=float,
        decision=Decision,
    )
    def run(
        self, query: str, documents: list[Document], top_k: int | None = None
    ) -> dict[str, Any]:
        """Answer one question.

        Args:
            query: the question.
            documents: the reviews to read; one without text is passed over.
            top_k: takes the place of the component's own.

        Returns:
            `answers`, best first; `candidates`, the best `SPANS`, whatever the threshold;
            `decision`, whether there are any and why;
            `no_answer_probability`, see `ExtractiveReader`.

        Raises:
            EmptyQuestionError: the question has no words.
            QuestionTooLongError: the question leaves too little room for a review.
        """
        [reading] = self.read([query], [documents], top_k, SPANS)
        return {
            "answers": list(reading.answers),
            "candidates": list(reading.candidates),
            "no_answer_probability": reading.no_answer_probability,
            "decision": reading.decision,
        }

    def read(
        self,
        questions: Sequence[str],
        documents: Sequence[Sequence[Document]],
        top_k: int | None = None,
        spans: int = 0,
    ) -> list[Reading]:
        """Answer many questions at once, their windows batched together by length.

        Args:
            questions: what is asked.
            documents: the reviews to read for each question.
            top_k: takes the place of the component's own.
            spans: candidates, if more than the answers.

        Raises:
            EmptyQuestionError: a question has no words.
            QuestionTooLongError: a question leaves too little room for a review.
            InvalidArgumentError: `top_k` is below 1, or the two sequences differ in length.
        """
        refuse_unpaired(questions, documents)
        top_k = self.top_k if top_k is None else top_k
        loaded = self._ready()
        readings: list[Reading] = []
        with stage("read") as span:
            span.set_tags(
                {
                    "qa_system.read.model": self.model,
                    "qa_system.read.questions": len(questions),
                    "qa_system.read.documents": sum(map(len, documents)),
                }
            )
            span.set_content_tag("qa_system.read.queries", list(questions))
            for start in range(0, len(questions), QUESTIONS_AT_ONCE):
                part = slice(start, start + QUESTIONS_AT_ONCE)
                readings += (
                    replace(reading, answers=reading.answers[:top_k])
                    for reading in self._read(
                        loaded, questions[part], documents[part], max(top_k, spans)
                    )
                )
            span.set_tag("qa_system.read.answers", sum(len(each.answers) for each in readings))
            span.set_content_tag(
                "qa_system.read.texts", [[one.data for one in each.answers] for each in readings]
            )
        return readings

    def _ready(self) -> _Loaded:
        with self._loading:
            if self._loaded is None:
                self._loaded = self._load()
            return self._loaded

    def _load(self) -> _Loaded:
        location = locate(self.model)
        backend = _backends.get(
            (stamp(location.path), self.backend, self.precision, self.device, self.threads),
            lambda: load_backend(
                location,
                backend=self.backend,
                precision=self.precision,
                device=self.device,
                threads=self.threads,
            ),
        )
        if backend.positions is not None and self.max_seq_length > backend.positions:
            is_too_long = self.stride >= backend.positions // 2
            shorter = f", and reader.stride to {backend.positions // 4}" if is_too_long else ""
            raise ConfigError(
                f"max_seq_length is {self.max_seq_length}, "
                f"and the reader has {backend.positions} positions",
                where=self.model,
                remedy=f"Set reader.max_seq_length to {backend.positions} at most{shorter}.",
            )
        batch_tokens = self.batch_tokens
        if batch_tokens is None:
            batch_tokens = GPU_BATCH_TOKENS if backend.on_gpu else CPU_BATCH_TOKENS
            if backend.precision == "int8":
                batch_tokens = INT8_BATCH_TOKENS
        cutter = WindowCutter(
            backend.tokenizer, self.max_seq_length, self.stride, where=str(location.path)
        )
        calibrations = self._in_force(backend.calibration), self._in_force(backend.of_sentences)
        return _Loaded(backend, cutter, *calibrations, batch_tokens)

    def _in_force(self, calibration: Calibration) -> Calibration:
        if self.no_answer_threshold is not None:
            calibration = replace(calibration, threshold=self.no_answer_threshold)
        return calibration if self.temperature is None else calibration.at(self.temperature)

    def _read(
        self,
        loaded: _Loaded,
        questions: Sequence[str],
        documents: Sequence[Sequence[Document]],
        top_k: int,
    ) -> Iterator[Reading]:
        budget = self.budget if self.evidence == "sentences" else None
        windows = windows_of(loaded.cutter, questions, documents, budget)
        logits = iter(
            score_windows(
                loaded.backend,
                [window for each in windows for cut in each for window in cut],
                loaded.batch_tokens,
                where=self.model,
            )
        )
        for question, each, cuts in zip(questions, documents, windows, strict=True):
            is_divided = budget is not None and any(map(has_sentences, each))
            calibration = loaded.of_sentences if is_divided else loaded.calibration
            borders = [title_end(document.content or "", document.meta) for document in each]
            spans = [
                best_spans([next(logits) for _ in cut], top_k, self.max_answer_length, border)
                for cut, border in zip(cuts, borders, strict=True)
            ]
            candidates = [
                self._answer(question, document, document.content, span, calibration)
                for document, found in zip(each, spans, strict=True)
                for span in found
                if document.content is not None
            ]
            candidates = best_first(
                candidates, lambda answer: answer.meta["log_odds"], _document_of
            )
            log_odds = tuple(found[0].log_odds if found else -math.inf for found in spans)
            yield reading_of(candidates[:top_k], calibration, log_odds)

    def _answer(
        self, question: str, document: Document, content: str, span: Span, calibration: Calibration
    ) -> ExtractedAnswer:
        context, offset = snippet(content, span.start, span.end, self.snippet_chars)
        return ExtractedAnswer(
            query=question,
            data=content[span.start : span.end],
            score=calibration.right(span.log_odds),
            document=document,
            document_offset=ExtractedAnswer.Span(span.start, span.end),
            context=context,
            context_offset=ExtractedAnswer.Span(offset, offset + span.end - span.start),
            meta={"log_odds": span.log_odds},
        )


def _document_of(answer: ExtractedAnswer) -> str:
    return "" if answer.document is None else answer.document.id


_backends: Shared[ReaderBackend] = Shared()


@dataclass(frozen=True, slots=True)
class _Loaded:
    backend: ReaderBackend
    cutter: WindowCutter
    calibration: Calibration
    of_sentences: Calibration
    batch_tokens: int


def snippet(text: str, start: int, end: int, size: int) -> tuple[str, int]:
    """Cut an answer's surroundings out of its review, at word boundaries.

    Args:
        text: the review.
        start: the answer's first character.
        end: the character after its last.
        size: characters of the review at most, unless the answer alone has more.

    Returns:
        The snippet, with an ellipsis where the review goes on, and the answer's first character
        in it.

    >>> snippet("The strap is cheap, but the battery lasts two days.", 42, 50, 30)
    ('… the battery lasts two days.', 20)
    """
    spare = max(size - (end - start), 0)
    first = max(min(start - spare // 2, len(text) - (end - start) - spare), 0)
    last = min(first + (end - start) + spare, len(text))
    while first < start and first > 0 and not text[first - 1].isspace():
        first += 1
    while first < start and text[first].isspace():
        first += 1
    while last > end and last < len(text) and not text[last].isspace():
        last -= 1
    while last > end and text[last - 1].isspace():
        last -= 1
    before = "… " if text[:first].strip() else ""
    after = " …" if text[last:].strip() else ""
    return f"{before}{text[first:last]}{after}", len(before) + start - first


def refuse_unpaired(questions: Sequence[str], documents: Sequence[Sequence[Document]]) -> None:
    """Refuse questions that cannot be asked of their documents.

    Raises:
        InvalidArgumentError: a question is no text, or the two sequences differ in length.
        EmptyQuestionError: a question has no words.
    """
    check_texts("questions", questions)
    if len(questions) != len(documents):
        raise InvalidArgumentError(
            f"{len(questions)} questions came with {len(documents)} lists of documents",
            remedy="Give a list of documents, which may be empty, for each question.",
        )
    for position, (question, each) in enumerate(zip(questions, documents, strict=True), start=1):
        where = "question" if len(questions) == 1 else f"question {position}"
        check_question(question, where)
        if not isinstance(each, list | tuple):
            raise InvalidArgumentError(
                f"the documents of {where} are a {type(each).__name__}",
                remedy="Pass a list of Haystack documents.",
            )
