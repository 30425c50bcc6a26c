"""What a retriever learns from without labels: from texts alone, or from a teacher.

- Inverse cloze (Lee et al., 2019, https://arxiv.org/abs/1906.00300): a sentence is the question,
  what stood around it the passage.
- A teacher's judgement of passages that BM25 finds for real questions, as in GPL (Wang et al.,
  2022, https://arxiv.org/abs/2112.07577), which generates the questions, too: a shop's search log
  has real ones, and `qa questions` makes some.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import orjson

from qa_system.console.progress import progress
from qa_system.errors import DataError, MissingDependencyError, ModelError
from qa_system.models.inference import choose_torch_device
from qa_system.models.locate import ModelLocation, locate
from qa_system.training.negatives import Asked, ranked_by_bm25
from qa_system.training.recipes import TeacherSettings
from qa_system.training.retriever.examples import Cut, Pair, passages_of
from qa_system.training.retriever.sources import Corpus

__all__ = [
    "Group",
    "Judged",
    "Teacher",
    "asked_in",
    "cloze_pairs",
    "judge",
    "judged_passages",
    "load_teacher",
    "to_judge",
]

KEPT = 0.1
"""How often the sentence stays in the passage, so that matching words count, too (Lee et al.)."""
FEWEST_WORDS = 4
"""Of a sentence that makes a question."""
JUDGED_AT_ONCE = 16
"""Questions."""
LOWEST = -30.0
"""The score of a passage in which a reader abstains."""

_SENTENCE = re.compile(r"\S.*?(?:[.!?…]+[\"'”’)\]]*(?=\s|$)|$)", re.DOTALL)

Group = tuple[str, tuple[str, ...]]
"""A question and passages."""

Teacher = Callable[[Sequence[Group]], Sequence[Sequence[float]]]
"""Scores each passage of each group; more is better."""


@dataclass(frozen=True, slots=True)
class Judged:
    """A question, passages, and the teacher's score of each."""

    question: str
    passages: tuple[str, ...]
    scores: tuple[float, ...]


def cloze_pairs(texts: Mapping[str, str | None], cut: Cut, seed: int) -> list[Pair]:
    """Make a question of one sentence of each passage that has several.

    Args:
        texts: each with its item; None: it belongs to none.
        cut: cuts texts into passages.
        seed: of the draw.

    >>> text = "It is light and cheap. The screen broke in a week."
    >>> [pair] = cloze_pairs({text: "B00"}, lambda text: [(0, len(text))], seed=1)
    >>> pair.question, pair.passage
    ('It is light and cheap.', 'The screen broke in a week.')
    """
    draw = random.Random(seed)
    pairs = []
    for text, item_id in texts.items():
        for start, end in cut(text):
            passage = text[start:end]
            sentences = [match.span() for match in _SENTENCE.finditer(passage)]
            fitting = [
                (first, last)
                for first, last in sentences
                if len(passage[first:last].split()) >= FEWEST_WORDS
            ]
            if len(sentences) < 2 or not fitting:
                continue
            first, last = draw.choice(fitting)
            rest = f"{passage[:first].rstrip()} {passage[last:].lstrip()}".strip()
            kept = passage if draw.random() < KEPT else rest
            pairs.append(Pair(passage[first:last], item_id, kept, text))
    return pairs


def asked_in(
    path: str | Path, items: Iterable[str | None], items_per_question: int, seed: int
) -> list[Asked]:
    """Read questions from a file, one a line, after a tab the item asked about.

    Args:
        path: the file, in UTF-8; empty lines do not count.
        items: those that there are texts of.
        items_per_question: how many of them, drawn at random, a question that names none is
            asked about.
        seed: of the draw.

    Raises:
        DataError: it cannot be read, has no question, or names an item of which there is no text.
    """
    try:
        lines = Path(path).read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"the questions cannot be read: {error}", where=str(path)) from error
    known = sorted({item_id for item_id in items if item_id is not None})
    draw = random.Random(seed)
    asked: list[Asked] = []
    for number, line in enumerate(lines, start=1):
        question, _, item_id = (part.strip() for part in line.partition("\t"))
        if not question:
            continue
        if not item_id:
            about: list[str | None] = [*draw.sample(known, min(items_per_question, len(known)))]
            asked += [(question, item) for item in about or [None]]
        elif item_id in known:
            asked.append((question, item_id))
        else:
            raise DataError(
                f"there is no text of the item {item_id!r}",
                where=f"line {number} of {path}",
                remedy="Remove the line, or name a source that has texts of it.",
            )
    if not asked:
        raise DataError(
            "there is no question", where=str(path), remedy="Write one question a line."
        )
    return list(dict.fromkeys(asked))


def judged_passages(
    corpora: Sequence[Corpus], teacher: TeacherSettings, cut: Cut, device: str, kept: Path
) -> list[Judged]:
    """Return what one epoch goes through: a teacher's scores of passages that BM25 finds.

    Args:
        corpora: each counts by the weight of its source.
        teacher: its name, and which questions it judges how many passages of.
        cut: cuts texts into passages.
        device: of the teacher.
        kept: a file for the scores, from which a run that was stopped reads them: they may take
            longer than the training.

    Raises:
        DataError: the questions cannot be read, or there are fewer passages than asked for.
        ModelError: the teacher cannot be loaded.
    """
    if kept.is_file():
        return [
            Judged(question, tuple(passages), tuple(scores))
            for question, passages, scores in orjson.loads(kept.read_bytes())
        ]
    groups = []
    for corpus in corpora:
        if teacher.questions is not None:
            items = corpus.texts.values()
            asked = asked_in(teacher.questions, items, teacher.items_per_question, corpus.seed)
        else:
            asked = list(dict.fromkeys((label.question, label.item_id) for label in corpus.labels))
        of_source = to_judge(asked, corpus.texts, teacher.candidates, cut, corpus.seed)
        groups += corpus.source.weighted(of_source, corpus.seed)
    judged = judge(groups, load_teacher(teacher.model, device)) if groups else []
    rows = [[each.question, each.passages, each.scores] for each in judged]
    unfinished = kept.with_suffix(".part")
    unfinished.write_bytes(orjson.dumps(rows))
    unfinished.replace(kept)
    return judged


def to_judge(
    asked: Sequence[Asked], texts: Mapping[str, str | None], number: int, cut: Cut, seed: int
) -> list[Group]:
    """Return each question with as many passages: BM25's best of its item, then others at random.

    Args:
        asked: questions, each about an item or about all texts.
        texts: each with its item.
        number: passages for a question.
        cut: cuts texts into passages.
        seed: of the draw.

    Raises:
        DataError: there are fewer passages than that.

    >>> texts = {"The screen is bright.": "B00", "It is heavy.": "B00", "A screen.": "B01"}
    >>> to_judge([("Bright screen?", "B00")], texts, 2, lambda text: [(0, len(text))], seed=1)
    [('Bright screen?', ('The screen is bright.', 'It is heavy.'))]
    """
    item_of = {passage: texts[text] for passage, text in passages_of(texts, cut).items()}
    if len(item_of) < number:
        raise DataError(
            f"there are {len(item_of)} passages, and a teacher is to judge {number} a question",
            remedy="Name a source with more texts, or set fewer teacher.candidates.",
        )
    draw = random.Random(seed)
    everything = list(item_of)
    groups: list[Group] = []
    for (question, _), best in ranked_by_bm25(item_of, asked, number).items():
        chosen = dict.fromkeys(best)
        while len(chosen) < number:
            chosen[draw.choice(everything)] = None
        groups.append((question, tuple(chosen)))
    return groups


def judge(groups: Sequence[Group], teacher: Teacher) -> list[Judged]:
    """Score each question's passages by a teacher."""
    judged = []
    with progress("judging", unit="questions", total=len(groups)) as shown:
        for first in range(0, len(groups), JUDGED_AT_ONCE):
            some = groups[first : first + JUDGED_AT_ONCE]
            judged += [
                # A reader that finds no span at all in a passage scores it minus infinity.
                Judged(question, passages, tuple(max(score, LOWEST) for score in scores))
                for (question, passages), scores in zip(some, teacher(some), strict=True)
            ]
            shown.advance(len(some))
    return judged


def load_teacher(model: str, device: str) -> Teacher:
    """Load a reader or a cross-encoder as one that scores passages.

    Raises:
        ModelError: the model is neither, or cannot be loaded.
        MissingDependencyError: it needs a package that is not installed.
    """
    location = locate(model)
    if location.format == "onnx" or _is_reader(location.path):
        return _reading(model, device)
    return _cross_encoding(location, device)


def _is_reader(folder: Path) -> bool:
    path = folder / "config.json"
    try:
        architectures = orjson.loads(path.read_bytes()).get("architectures") or []
    except (OSError, orjson.JSONDecodeError, AttributeError) as error:
        raise ModelError(
            f"the teacher's config cannot be read: {error}",
            where=str(path),
            remedy="Name a reader or a cross-encoder.",
        ) from error
    return any(name.endswith("ForQuestionAnswering") for name in architectures)


def _reading(model: str, device: str) -> Teacher:
    from haystack import Document

    from qa_system.readers.extractive import ExtractiveReader

    reader = ExtractiveReader(model, device=device)
    reader.warm_up()

    def scores(groups: Sequence[Group]) -> list[Sequence[float]]:
        documents = [[Document(content=text) for text in passages] for _, passages in groups]
        readings = reader.read([question for question, _ in groups], documents, top_k=1)
        return [reading.log_odds for reading in readings]

    return scores


def _cross_encoding(location: ModelLocation, device: str) -> Teacher:
    try:
        from torch.nn import Identity

        from qa_system.rankers.cross_encoder import load_cross_encoder
    except ImportError as error:
        raise MissingDependencyError(
            f"a cross-encoder needs the package {error.name!r}",
            remedy="Install it: pip install 'qa-system[train]'.",
        ) from error
    model = load_cross_encoder(location, str(choose_torch_device(device)))

    def scores(groups: Sequence[Group]) -> list[Sequence[float]]:
        rows = [(question, text) for question, passages in groups for text in passages]
        found = iter(
            model.predict(
                rows, batch_size=16, show_progress_bar=False, activation_fn=Identity()
            ).tolist()
        )
        return [[next(found) for _ in passages] for _, passages in groups]

    return scores
