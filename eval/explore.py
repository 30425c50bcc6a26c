"""What a data set holds: splits, question types, lengths, agreement, overlap of splits.

Chapter 7 of "Natural Language Processing with Transformers" (Tunstall, von Werra and Wolf) explores
SubjQA this way: splits, question types with some questions of each, and how long question and
review are together, beside the reader's window. Other sources of error are counted, too: answers
that are not at their annotated place, annotators who disagree, questions and items that are in two
splits.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from eval.runs.slices import slices_of
from qa_system.config import ReaderSettings
from qa_system.datasets.dataset import Dataset
from qa_system.errors import EvaluationError
from qa_system.labels import UNLOCATED, gold_texts
from qa_system.models.inference import load_tokenizer
from qa_system.models.locate import locate
from qa_system.readers.windows import WindowCutter
from qa_system.records import Label

if TYPE_CHECKING:
    from tokenizers import Tokenizer

__all__ = ["PLURAL", "explore"]

Lengths = NDArray[np.int64]

TEXTS_AT_ONCE = 1_000
BARS = 40
PLURAL = {
    "question": "questions",
    "review": "reviews",
    "answer": "answers",
    "pair": "pairs of question and review",
}
MEASURED = ("dev", "test")


def explore(
    dataset: Dataset, reader: ReaderSettings, *, samples: int = 3, seed: int = 13
) -> dict[str, Any]:
    """Count what a data set holds.

    Args:
        dataset: all its splits are counted.
        reader: its tokenizer counts tokens, and its window limits them.
        samples: questions of each type to show at most.
        seed: random seed of their draw.

    Returns:
        JSON values:

        - `title`: the data set's path;
        - `counts`: `all`, each split and (as `domain NAME`) each of several domains ->
          questions, reviews, items, `answerable` (share of the questions),
          `questions_of_review` and `reviews_of_item` (means), `annotated_twice` (questions with
          two annotators or more) and `agreement` (the share of those on which all agree whether
          there is an answer);
        - `question_words`: first word of the questions -> how many, and `answerable`;
        - `question_samples`: first word -> some of those questions, drawn at random;
        - `lengths`: `question`, `review`, `answer` and `pair` (a question and its review with the
          special tokens around them, as a reader takes them) -> their number, and the median, 95th
          percentile and maximum of their tokens;
        - `window`: see `_window`; `answers`: see `_answers`; `overlap`: see `_overlap`;
        - `bars`: name -> arguments of `eval.report.plots.bars`; `histograms`: name -> those of
          `eval.report.plots.histogram`.

    Raises:
        EvaluationError: the data set has no questions.
        ModelError: the reader's tokenizer cannot be loaded.
    """
    labels = dataset.labels
    if not labels:
        raise EvaluationError("there are no questions", where=dataset.path)
    tokenizer = load_tokenizer(locate(reader.model).path)
    tokens = _token_counts(tokenizer, _texts(labels))
    cutter = WindowCutter(tokenizer, reader.max_seq_length)
    lengths = _lengths(labels, tokens, specials=reader.max_seq_length - cutter.room(0))
    words = _question_words(dataset)
    return {
        "title": dataset.path,
        "counts": {name: _counts(part) for name, part in _parts(dataset)},
        "question_words": words,
        "question_samples": _question_samples(dataset, words, samples, seed),
        "lengths": {name: _spread(found) for name, found in lengths.items()},
        "window": _window(labels, tokens, cutter, reader),
        "answers": _answers(dataset),
        "overlap": _overlap(labels),
        "bars": {"question_words": _bars(words)},
        "histograms": _histograms(lengths, reader.max_seq_length),
    }


def _lengths(
    labels: Sequence[Label], tokens: Mapping[str, int], specials: int
) -> dict[str, Lengths]:
    """Return the tokens of each question, distinct review and answer, and of each pair."""
    reviews = {label.review_id: label.context for label in labels}
    found = {
        "question": [tokens[label.question] for label in labels],
        "review": [tokens[text] for text in reviews.values()],
        "answer": [tokens[text] for label in labels for text in gold_texts(label)],
        "pair": [tokens[label.question] + tokens[label.context] + specials for label in labels],
    }
    return {name: np.array(counted, np.int64) for name, counted in found.items()}


def _parts(dataset: Dataset) -> Iterator[tuple[str, Sequence[Label]]]:
    yield "all", dataset.labels
    for split in dataset.splits:
        yield split, dataset.labels_of(split)
    domains: dict[str, list[Label]] = {}
    for label in dataset.labels:
        domains.setdefault(str(label.meta.get("domain")), []).append(label)
    if len(domains) > 1:
        yield from ((f"domain {name}", part) for name, part in domains.items())


def _counts(labels: Sequence[Label]) -> dict[str, Any]:
    reviews = {label.review_id for label in labels}
    of_items = {(label.item_id, label.review_id) for label in labels if label.item_id is not None}
    items = {item for item, _ in of_items}
    votes = [_votes(label) for label in labels]
    twice = [found for found in votes if len(found) > 1]
    return {
        "questions": len(labels),
        "reviews": len(reviews),
        "items": len(items),
        "answerable": _share(sum(bool(gold_texts(label)) for label in labels), len(labels)),
        "questions_of_review": _share(len(labels), len(reviews)),
        "reviews_of_item": _share(len(of_items), len(items)),
        "annotated_twice": len(twice),
        "agreement": _share(sum(len(set(found)) == 1 for found in twice), len(twice)),
    }


def _votes(label: Label) -> list[bool]:
    """Return for each annotator whether they found an answer.

    An annotator whose answer could not be located is not among the `annotations`.
    """
    found = [bool(spans) for spans in label.annotations]
    return found + [True] * len(label.meta.get(UNLOCATED, ()))


def _question_words(dataset: Dataset) -> dict[str, dict[str, Any]]:
    asked: Counter[str] = Counter()
    answerable: Counter[str] = Counter()
    for slices in slices_of(dataset.labels, dataset):
        asked[slices["question_word"]] += 1
        answerable[slices["question_word"]] += slices["answerable"] == "yes"
    return {
        word: {"questions": count, "answerable": _share(answerable[word], count)}
        for word, count in asked.most_common()
    }


def _question_samples(
    dataset: Dataset, words: Iterable[str], samples: int, seed: int
) -> dict[str, list[str]]:
    """Draw distinct questions of each type, by the seed and the type alone."""
    asked: dict[str, dict[str, None]] = {word: {} for word in words}
    for label, slices in zip(dataset.labels, slices_of(dataset.labels, dataset), strict=True):
        asked[slices["question_word"]][label.question] = None
    return {
        word: random.Random(f"{seed} {word}").sample(sorted(texts), min(samples, len(texts)))
        for word, texts in asked.items()
    }


def _bars(words: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    return {
        "title": "How questions begin",
        "counts": {word: of["questions"] for word, of in words.items()},
        "xlabel": "questions",
    }


def _texts(labels: Iterable[Label]) -> dict[str, None]:
    texts: dict[str, None] = {}
    for label in labels:
        texts |= dict.fromkeys((label.question, label.context, *gold_texts(label)))
    return texts


def _token_counts(tokenizer: Tokenizer, texts: Iterable[str]) -> dict[str, int]:
    listed = list(texts)
    counts: dict[str, int] = {}
    for start in range(0, len(listed), TEXTS_AT_ONCE):
        batch = listed[start : start + TEXTS_AT_ONCE]
        encoded = tokenizer.encode_batch_fast(batch, add_special_tokens=False)
        counts.update(zip(batch, map(len, encoded), strict=True))
    return counts


def _spread(lengths: Lengths) -> dict[str, float | None]:
    if not len(lengths):
        return {"count": 0, "median": None, "p95": None, "max": None}
    median, p95 = np.percentile(lengths, (50, 95))
    return {
        "count": len(lengths),
        "median": float(median),
        "p95": float(p95),
        "max": int(lengths.max()),
    }


def _window(
    labels: Sequence[Label], tokens: Mapping[str, int], cutter: WindowCutter, reader: ReaderSettings
) -> dict[str, Any]:
    """Count the questions whose review needs more than one of the reader's windows.

    Returns:
        `tokens` and `stride` of the `reader`; the `questions` that fit into a window, those
        `too_long` for it, and `several_windows`, the share of the former whose review needs more
        than one.
    """
    rooms = [cutter.room(tokens[label.question]) for label in labels]
    fitting = [
        tokens[label.context] > room
        for label, room in zip(labels, rooms, strict=True)
        if room >= cutter.least_room
    ]
    return {
        "reader": reader.model,
        "tokens": reader.max_seq_length,
        "stride": reader.stride,
        "questions": len(fitting),
        "too_long": len(labels) - len(fitting),
        "several_windows": _share(sum(fitting), len(fitting)),
    }


def _answers(dataset: Dataset) -> dict[str, int | None]:
    """Count the answers by how they were located.

    Returns:
        Annotators' answers that were `exact`, `repaired` and `given_up`, where a data set's
        offsets had to be repaired; questions with an answer that is `unlocated`, and those with
        `only_unlocated` ones.
    """
    unlocated = [label for label in dataset.labels if label.meta.get(UNLOCATED)]
    repairs = dataset.repairs
    return {
        **{
            name: None if repairs is None else getattr(repairs, name)
            for name in ("exact", "repaired", "given_up")
        },
        "unlocated": len(unlocated),
        "only_unlocated": sum(not label.answers for label in unlocated),
    }


def _overlap(labels: Sequence[Label]) -> dict[str, int]:
    """Count question ids in several splits, and what dev and test share with the training split.

    Returns:
        `doubled_question_ids`; of the dev and the test split the items, reviews and questions
        (item and text), and how many of them are `in_train`, too.
    """
    splits: dict[str, set[str | None]] = {}
    for label in labels:
        splits.setdefault(label.question_id, set()).add(label.split)

    def of(split: str) -> dict[str, set[Any]]:
        part = [label for label in labels if label.split == split]
        asked = [label for label in part if label.item_id is not None]
        return {
            "items": {label.item_id for label in asked},
            "reviews": {label.review_id for label in part},
            "questions": {(label.item_id, label.question) for label in asked},
        }

    trained = of("train")
    found = {"doubled_question_ids": sum(len(each) > 1 for each in splits.values())}
    for split in MEASURED:
        for kind, values in of(split).items():
            found[f"{split}_{kind}"] = len(values)
            found[f"{split}_{kind}_in_train"] = len(values & trained[kind])
    return found


def _histograms(lengths: Mapping[str, Lengths], window: int) -> dict[str, dict[str, Any]]:
    return {
        f"{name}_tokens": {
            "title": f"Length of {PLURAL[name]}",
            **_histogram(found, PLURAL[name]),
            "xlabel": "tokens",
            "ylabel": PLURAL[name],
            "lines": {"the reader's window": window} if name in ("review", "pair") else {},
        }
        for name, found in lengths.items()
        if len(found)
    }


def _histogram(lengths: Lengths, name: str) -> dict[str, Any]:
    """Count lengths in bars of equal width; the last one has the long tail."""
    most = float(np.percentile(lengths, 99))
    width = max(int(np.ceil(most / BARS)), 1)
    edges = np.arange(0, most + width + 1, width)
    counts, _ = np.histogram(np.minimum(lengths, edges[-1]), edges)
    longer = int((lengths > edges[-1]).sum())
    caption = f"The last bar includes {longer:,} longer ones." if longer else ""
    return {"edges": edges.tolist(), "counts": {name: counts.tolist()}, "caption": caption}


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None
