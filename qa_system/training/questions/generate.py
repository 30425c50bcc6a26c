"""Unlabelled reviews -> questions with answers: proposed, read again, written item by item."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any, Final

import orjson
from haystack import Document

from qa_system.aspects.words import words
from qa_system.consensus.quotes import review_of
from qa_system.console.progress import progress
from qa_system.errors import ConfigError
from qa_system.models.locate import locate, weights_hash
from qa_system.records import AnswerSpan, Label
from qa_system.training.questions.candidates import Candidate, candidates_of, without_copies
from qa_system.training.questions.corpus import Corpus, catalogue_of
from qa_system.training.questions.output import open_output, record_of
from qa_system.training.questions.round_trip import Found, Proposal, abstains, read_again

if TYPE_CHECKING:
    from qa_system.aspects.finding import Embed
    from qa_system.aspects.phrases import Catalogue
    from qa_system.readers.extractive import ExtractiveReader
    from qa_system.training.questions.writers import Writer

__all__ = ["Generated", "Limits", "Makers", "generate_questions"]

LEFT_OUT: Final = ("no_question", "duplicate", "too_long", "not_answered", "elsewhere")
"""Why a clause does not become a label, in the order in which it is checked."""
TRIES: Final = 3
"""Reviews that are read for each question without an answer that is wanted."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How much is made, and what is kept.

    Args:
        overlap: F1 of the reader's span with the answer, from which on a label is kept.
        per_item: clauses of an item that are asked about at most, drawn at random.
        unanswerable: labels without an answer, for each one with an answer.
        seed: of the draws.
    """

    overlap: float = 0.5
    per_item: int = 100
    unanswerable: float = 0.5
    seed: int = 13


@dataclass(frozen=True, slots=True)
class Makers:
    """What labels are made with.

    Args:
        writer: writes the questions.
        reader: has to find the answers again.
        embed: returns embeddings of phrases, by which aspects that mean the same are found; None:
            they are compared by their words.
        encoder: the name of the model that embeds.
    """

    writer: Writer
    reader: ExtractiveReader
    embed: Embed | None = None
    encoder: str | None = None


@dataclass(frozen=True, slots=True)
class Generated:
    """What came of a run.

    Args:
        out: the file of labels.
        record: the file that says what it was made of.
        labels: in the file.
        items: whose reviews were asked about.
        resumed: items that an earlier run had done.
        counts: `clauses` that could be asked about; of them `asked`; why those were left out
            (`LEFT_OUT`); `kept`; `unanswerable`, labels without an answer; `rejected`, rows that
            are no reviews.
    """

    out: str
    record: str
    labels: int
    items: int
    resumed: int
    counts: Mapping[str, int]

    def to_dict(self) -> dict[str, Any]:
        """Return the report as JSON values."""
        return asdict(self)


def generate_questions(
    corpus: Corpus, makers: Makers, out: Path, limits: Limits, *, restart: bool = False
) -> Generated:
    """Make labels of reviews that nobody has labelled, and write them.

    A run that was stopped, by SIGKILL as well, goes on behind the items that it had done, and the
    file is the same as if it had not been stopped.

    Args:
        corpus: the reviews.
        makers: what writes and checks the questions.
        out: a file of labels (`.jsonl`); its record stands beside it.
        limits: how much is made.
        restart: begin anew, over the labels of an earlier run.

    Raises:
        ConfigError: the file was made with something else, or cannot be written.
        QASystemError: the reviews or a model cannot be read.
    """
    if Path(corpus.place).resolve() == out.resolve():
        raise ConfigError(
            "the labels would overwrite the reviews",
            where=str(out),
            remedy="Name another file: qa questions --out FILE.",
        )
    reader = locate(makers.reader.model)
    made_with = {
        "reviews": corpus.digest(),
        "generator": {"by": makers.writer.kind, **makers.writer.about()},
        "reader": {"model": makers.reader.model, "sha256": weights_hash(reader.path)},
        "encoder": makers.encoder,
        **asdict(limits),
    }
    run = hashlib.sha256(orjson.dumps(made_with, option=orjson.OPT_SORT_KEYS)).hexdigest()[:12]
    with open_output(out, corpus.place, made_with, restart=restart) as (output, is_finished):
        resumed = output.items
        if not is_finished:
            catalogue = catalogue_of(corpus, limits.seed)
            items = corpus.items()
            with progress("asking", unit="items", total=len(items)) as shown:
                shown.go_on(resumed)
                for item in items[resumed:]:
                    made = _Item(item, corpus.reviews(item), makers, limits, run)
                    labels = list(made.labels(catalogue))
                    output.write(labels, made.counts)
                    shown.advance()
            output.finish({"rejected": corpus.rejected})
        counts = {name: output.counts[name] for name in _COUNTED}
        labels_there = counts["kept"] + counts["unanswerable"]
        return Generated(str(out), str(record_of(out)), labels_there, output.items, resumed, counts)


_COUNTED: Final = ("rejected", "clauses", "asked", *LEFT_OUT, "kept", "unanswerable")


class _Item:
    """The labels of one item."""

    def __init__(
        self, item: str, documents: Sequence[Document], makers: Makers, limits: Limits, run: str
    ) -> None:
        self.counts: Counter[str] = Counter()
        self._item = item
        self._documents = without_copies(documents)
        self._makers = makers
        self._limits = limits
        self._run = run
        self._draw = Random(f"{limits.seed} {item}")

    def labels(self, catalogue: Catalogue) -> Iterator[Label]:
        """Yield the labels with an answer, then those without one."""
        candidates = candidates_of(self._documents, catalogue, self._makers.embed)
        self.counts["clauses"] = len(candidates)
        if len(candidates) > self._limits.per_item:
            chosen = self._draw.sample(range(len(candidates)), self._limits.per_item)
            candidates = [candidates[at] for at in sorted(chosen)]
        self.counts["asked"] = len(candidates)
        proposals = self._proposals(candidates)
        found = read_again(self._makers.reader, proposals, self._limits.overlap)
        self.counts.update(each.outcome for each in found)
        kept = [
            (proposal, each)
            for proposal, each in zip(proposals, found, strict=True)
            if each.outcome == "kept"
        ]
        for proposal, each in kept:
            yield self._label(proposal, each)
        yield from self._without_answer([proposal for proposal, _ in kept])

    def _proposals(self, candidates: Sequence[Candidate]) -> list[Proposal]:
        asked = set()
        proposals = []
        for each, question in zip(
            candidates, self._makers.writer.write(candidates) if candidates else (), strict=True
        ):
            if question is None:
                self.counts["no_question"] += 1
                continue
            known = each.document.id, _plain(question)
            if known in asked:
                self.counts["duplicate"] += 1
                continue
            asked.add(known)
            proposals.append(Proposal(question, each.document, each.start, each.end, each.aspect))
        return proposals

    def _without_answer(self, kept: Sequence[Proposal]) -> Iterator[Label]:
        """Yield questions with reviews that name nothing of their aspect and do not answer.

        The reader has to abstain, so that a review that answers in other words is left out.
        """
        wanted = round(self._limits.unanswerable * len(kept))
        stems = [
            {word.stem for word in words(document.content or "")} for document in self._documents
        ]
        pairs: dict[tuple[str, str], tuple[Proposal, Document]] = {}
        for _ in range(TRIES * wanted):
            proposal = self._draw.choice(kept)
            at = self._draw.randrange(len(self._documents))
            document = self._documents[at]
            if stems[at].isdisjoint(word.stem for word in words(proposal.aspect)):
                pairs[document.id, _plain(proposal.question)] = proposal, document
        asked = [(proposal.question, document) for proposal, document in pairs.values()]
        unanswered = abstains(self._makers.reader, asked)
        chosen = [pair for pair, none in zip(pairs.values(), unanswered, strict=True) if none]
        for proposal, document in chosen[:wanted]:
            self.counts["unanswerable"] += 1
            yield self._label(Proposal(proposal.question, document, 0, 0, proposal.aspect), None)

    def _label(self, proposal: Proposal, found: Found | None) -> Label:
        content, review_id = proposal.document.content or "", review_of(proposal.document)
        start, end = proposal.start, proposal.end
        span = AnswerSpan(content[start:end], start, end)
        asked = "\0".join([self._item, review_id, proposal.question])
        return Label(
            question_id=hashlib.sha256(asked.encode()).hexdigest()[:32],
            question=proposal.question,
            item_id=self._item,
            review_id=review_id,
            context=content,
            answers=() if found is None else (span,),
            meta={
                "aspect": proposal.aspect,
                "generated_by": self._makers.writer.kind,
                "generated_in": self._run,
                **({} if found is None else {"overlap": round(found.overlap, 4)}),
            },
        )


def _plain(question: str) -> str:
    return " ".join(word.text for word in words(question))
