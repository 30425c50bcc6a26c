"""RAG: answers in a model's own words, with the share that each review has in them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from threading import Lock
from typing import TYPE_CHECKING, Any, Literal

from haystack import Document, component, default_from_dict, default_to_dict
from haystack.dataclasses import GeneratedAnswer

from qa_system.arguments import checked
from qa_system.config import GeneratorSettings
from qa_system.errors import ConfigError, DataError
from qa_system.models.locate import locate
from qa_system.readers.extractive import refuse_unpaired
from qa_system.stages import stage
from qa_system.texts.passages import matched

if TYPE_CHECKING:
    from qa_system.generators.beams import BeamSearch, Hypothesis
    from qa_system.generators.facts import Mode
    from qa_system.generators.seq2seq import Seq2Seq

__all__ = ["Generated", "RAGGenerator"]

DEFAULTS = GeneratorSettings()

CPU_BATCH_TOKENS = 8192
"""Source tokens that are decoded together. Below it, a step's time goes into reading weights; above
it, the time grows with the tokens."""

GPU_BATCH_TOKENS = 65536


@dataclass(frozen=True, slots=True)
class Generated:
    """One answer.

    Args:
        text: without special tokens.
        log_probability: log p(y|x), natural, marginal over the documents, of the whole answer.
        score: `log_probability` over length ** length_penalty; answers are ranked by it.
        posterior: p(z|x,y), each document's share in the answer; their sum is 1.
    """

    text: str
    log_probability: float
    score: float
    posterior: tuple[float, ...]


@component
@checked
class RAGGenerator:
    """Write an answer to a question, marginalised over documents (Lewis et al. 2020).

    A document's prior is a softmax over `document.score` times `score_scale`; larger scores are
    better. Documents without scores have the same prior. A document without text is skipped. An
    answer without words means that the model abstains; answers that are less likely than that
    one are not returned.

    Loading happens on first use, or by `warm_up`. One generator may be used by many threads.

    Args:
        model: `bundled:NAME`, a folder (what `qa train generator` wrote, a RAG checkpoint, a BART
            or T5), or a Hub id.
        mode: `token`, where each word may come from another document, or `sequence`, where one
            document is the source of the whole answer; None: as trained.
        thorough: in `sequence`, score each answer under each document, not only under those
            whose beams found it.
        num_beams: open answers of the beam search; in `sequence`, for each document.
        top_k: answers at most; not more than `num_beams`.
        max_length: tokens of an answer at most; None: as trained, or 32.
        length_penalty: the power of an answer's length that its log-probability is divided by.
        template: how question and document are laid out; None: the model's own.
        max_source_length: tokens of question and document; None: the model's own.
        score_scale: what scores are multiplied by; None: the model's own, or 1.
        device: `cpu`, `cuda`, or `auto`.
        precision: `fp32`, `bf16`, `fp16`, or `auto`: bf16 where the hardware multiplies it.
        threads: inside a forward pass on the CPU; None leaves it to torch. It is one setting for
            the whole process.
        batch_tokens: source tokens that are decoded together, which bounds the memory; a question
            with more is a batch of its own. None takes what measured best.

    Raises:
        ConfigError: a setting is out of its range.
    """

    def __init__(
        self,
        model: str = DEFAULTS.model,
        *,
        mode: Literal["token", "sequence"] | None = DEFAULTS.mode,
        thorough: bool = DEFAULTS.thorough,
        num_beams: int = DEFAULTS.num_beams,
        top_k: int = 1,
        max_length: int | None = DEFAULTS.max_length,
        length_penalty: float = DEFAULTS.length_penalty,
        template: str | None = DEFAULTS.template,
        max_source_length: int | None = DEFAULTS.max_source_length,
        score_scale: float | None = DEFAULTS.score_scale,
        device: str = DEFAULTS.device,
        precision: Literal["auto", "fp32", "bf16", "fp16"] = DEFAULTS.precision,
        threads: int | None = DEFAULTS.threads,
        batch_tokens: int | None = None,
    ) -> None:
        if mode not in (None, "token", "sequence"):
            raise ConfigError(f"mode is {mode!r}", remedy="Set it to token or sequence.")
        for name, value in (("length_penalty", length_penalty), ("score_scale", score_scale)):
            if value is not None and not math.isfinite(value):
                raise ConfigError(f"{name} is {value}", remedy="Set a number.")
        self.model = model
        self.mode = mode
        self.thorough = thorough
        self.num_beams = num_beams
        self.top_k = top_k
        self.max_length = max_length
        self.length_penalty = length_penalty
        self.template = template
        self.max_source_length = max_source_length
        self.score_scale = score_scale
        self.device = device
        self.precision = precision
        self.threads = threads
        self.batch_tokens = batch_tokens
        self._checked(top_k)
        self._loaded: _Loaded | None = None
        self._loading = Lock()

    def to_dict(self) -> dict[str, Any]:
        """Serialise every argument."""
        return default_to_dict(
            self,
            model=self.model,
            mode=self.mode,
            thorough=self.thorough,
            num_beams=self.num_beams,
            top_k=self.top_k,
            max_length=self.max_length,
            length_penalty=self.length_penalty,
            template=self.template,
            max_source_length=self.max_source_length,
            score_scale=self.score_scale,
            device=self.device,
            precision=self.precision,
            threads=self.threads,
            batch_tokens=self.batch_tokens,
        )

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> RAGGenerator:
        """Build the component from what `to_dict` returned."""
        return default_from_dict(cls, data)

    def warm_up(self) -> None:
        """Load the model.

        Raises:
            ModelError: it is missing, damaged, or of another kind.
            MissingDependencyError: torch or transformers are not installed.
            ConfigError: `template`, `max_source_length` or `max_length` do not go with it.
        """
        self._ready()

    @component.output_types(answers=list[GeneratedAnswer])
    def run(
        self, query: str, documents: list[Document], top_k: int | None = None
    ) -> dict[str, list[GeneratedAnswer]]:
        """Answer one question.

        Args:
            query: the question.
            documents: the reviews to answer from; without documents there is no answer.
            top_k: replaces the component's own.

        Returns:
            `answers`, best first. Each has all the input `documents`, those with the largest
            share first; `meta` has `log_probability`, `score`, and `posterior` by document id.

        Raises:
            EmptyQuestionError: the question has no words.
            QuestionTooLongError: the question leaves too little room for a review.
            DataError: some documents have a score and others have none, or one is not finite.
        """
        [found] = self.generate([query], [documents], top_k)
        return {"answers": [_answer(query, documents, generated) for generated in found]}

    def generate(
        self,
        questions: Sequence[str],
        documents: Sequence[Sequence[Document]],
        top_k: int | None = None,
        *,
        prior: Sequence[Sequence[float]] | None = None,
    ) -> list[list[Generated]]:
        """Answer many questions at once, decoded together.

        Args:
            questions: what is asked.
            documents: the reviews to answer each question from.
            top_k: replaces the component's own.
            prior: log-odds of each document before it is read, finite where it has a text, up to
                a constant for each question; None: the documents' scores times `score_scale`.

        Returns:
            For each question its answers, best first; none if its documents have no text.

        Raises:
            EmptyQuestionError: a question has no words.
            QuestionTooLongError: a question leaves too little room for a review.
            DataError: some documents of a question have a score and others have none, or one is
                not finite.
            ConfigError: `top_k` is out of its range, or the sequences differ in length.
        """
        refuse_unpaired(questions, documents)
        if prior is not None and [*map(len, prior)] != [*map(len, documents)]:
            raise ConfigError(
                f"{[*map(len, documents)]} documents, and a prior for {[*map(len, prior)]}",
                remedy="Give each document of each question its log-odds.",
            )
        top_k = self._checked(self.top_k if top_k is None else top_k)
        read = [[at for at, each in enumerate(own) if _text(each)] for own in documents]
        if not any(read):
            return [[] for _ in questions]
        loaded = self._ready()
        with stage("generate"):
            return self._generate(loaded, questions, documents, read, top_k, prior)

    def _checked(self, top_k: int) -> int:
        if top_k > self.num_beams:
            raise ConfigError(
                f"top_k is {top_k}, and {self.num_beams} beams find no more answers than that",
                remedy=f"Set generator.num_beams to {top_k} at least.",
            )
        return top_k

    def _ready(self) -> _Loaded:
        with self._loading:
            if self._loaded is None:
                self._loaded = self._load()
            return self._loaded

    def _load(self) -> _Loaded:
        from qa_system.generators.seq2seq import load_seq2seq

        generator = load_seq2seq(
            locate(self.model),
            device=self.device,
            precision=self.precision,
            template=self.template,
            max_source_length=self.max_source_length,
            score_scale=self.score_scale,
        )
        from qa_system.generators.beams import BeamSearch

        if self.threads is not None:
            import torch

            torch.set_num_threads(self.threads)
        max_length = self.max_length or generator.max_answer_length
        if generator.positions is not None and max_length > generator.positions:
            raise ConfigError(
                f"max_length is {max_length}, "
                f"and the generator has {generator.positions} positions",
                where=self.model,
                remedy=f"Set generator.max_length to {generator.positions} at most.",
            )
        batch_tokens = self.batch_tokens
        if batch_tokens is None:
            on_gpu = generator.device.type == "cuda"
            batch_tokens = GPU_BATCH_TOKENS if on_gpu else CPU_BATCH_TOKENS
        search = BeamSearch(self.num_beams, max_length, self.length_penalty)
        return _Loaded(generator, search, self.mode or generator.mode, batch_tokens)

    def _generate(
        self,
        loaded: _Loaded,
        questions: Sequence[str],
        documents: Sequence[Sequence[Document]],
        read: Sequence[Sequence[int]],
        top_k: int,
        prior: Sequence[Sequence[float]] | None,
    ) -> list[list[Generated]]:
        from qa_system.generators.beams import sequence_beams, token_beams

        generator = loaded.generator
        sources = {
            number: generator.source_ids(
                questions[number],
                [_text(documents[number][at]) for at in own],
                [_title(documents[number][at]) for at in own],
            )
            for number, own in enumerate(read)
            if own
        }
        scores = {
            number: [generator.score_scale * score for score in _scores(documents[number], number)]
            if prior is None
            else prior[number]
            for number in sources
        }
        answers: list[list[Generated]] = [[] for _ in questions]
        for batch in _batches({n: _shape(rows) for n, rows in sources.items()}, loaded):
            rows = [sources[number] for number in batch]
            own = [[scores[number][at] for at in read[number]] for number in batch]
            found = (
                token_beams(generator, rows, own, loaded.search)
                if loaded.mode == "token"
                else sequence_beams(generator, rows, own, loaded.search, thorough=self.thorough)
            )
            for number, hypotheses in zip(batch, found, strict=True):
                posterior_of = read[number], len(documents[number])
                answers[number] = list(_worded(generator, hypotheses, *posterior_of))[:top_k]
        return answers


@dataclass(frozen=True, slots=True)
class _Loaded:
    generator: Seq2Seq
    search: BeamSearch
    mode: Mode
    batch_tokens: int


def _batches(shapes: dict[int, tuple[int, int]], loaded: _Loaded) -> Iterator[list[int]]:
    """Group questions with about as many documents of about the same length.

    Args:
        shapes: for each question the number of its documents, and the tokens of the longest
            source.
        loaded: says how many source tokens a batch may have. In mode `token`, each question is
            padded to the most documents in its batch.
    """
    batch: list[int] = []
    total = most = longest = 0
    for number in sorted(shapes, key=lambda number: shapes[number], reverse=True):
        documents, length = shapes[number]
        most, longest, total = max(most, documents), max(longest, length), total + documents
        rows = most * (len(batch) + 1) if loaded.mode == "token" else total
        if batch and rows * longest > loaded.batch_tokens:
            yield batch
            batch, total, most, longest = [], documents, documents, length
        batch.append(number)
    if batch:
        yield batch


def _shape(rows: Sequence[Sequence[int]]) -> tuple[int, int]:
    return len(rows), max(map(len, rows))


def _worded(
    generator: Seq2Seq, hypotheses: Sequence[Hypothesis], read: Sequence[int], documents: int
) -> Iterator[Generated]:
    seen: set[str] = set()
    for hypothesis in hypotheses:
        text = generator.decode(hypothesis.ids)
        if not text:
            return
        if text in seen:
            continue
        seen.add(text)
        posterior = [0.0] * documents
        for at, share in zip(read, hypothesis.posterior, strict=True):
            posterior[at] = share
        yield Generated(text, hypothesis.log_probability, hypothesis.score, tuple(posterior))


def _answer(query: str, documents: Sequence[Document], generated: Generated) -> GeneratedAnswer:
    order = sorted(range(len(documents)), key=lambda at: -generated.posterior[at])
    return GeneratedAnswer(
        data=generated.text,
        query=query,
        documents=[documents[at] for at in order],
        meta={
            "log_probability": generated.log_probability,
            "score": generated.score,
            "posterior": {documents[at].id: generated.posterior[at] for at in order},
        },
    )


def _text(document: Document) -> str:
    return matched(document.content or "", document.meta).strip()


def _title(document: Document) -> str:
    return str(document.meta.get("title") or "")


def _scores(documents: Sequence[Document], number: int) -> list[float]:
    scores = [document.score for document in documents]
    known = [score for score in scores if score is not None and math.isfinite(score)]
    if len(known) == len(scores):
        return known
    if all(score is None for score in scores):
        return [0.0] * len(scores)
    unscored = next(
        document for document in documents if document.score is None or document.score not in known
    )
    raise DataError(
        f"{len(scores) - len(known)} of {len(scores)} documents have no finite score",
        where=f"question {number + 1}, document {unscored.id}",
        remedy="Give each document the retriever's score, or none of them a score.",
    )
