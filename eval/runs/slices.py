"""Slices: features of questions, by which a mean can be broken down."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from qa_system.datasets.dataset import Dataset
from qa_system.errors import InvalidArgumentError
from qa_system.labels import gold_texts
from qa_system.records import Label

__all__ = ["in_slice", "slices_of"]

QUESTION_WORDS = frozenset(
    ("how", "what", "where", "when", "which", "who", "whose", "whom", "why"),
)
AUXILIARIES = frozenset(
    {
        *("is", "are", "was", "were", "am", "do", "does", "did", "has", "have", "had"),
        *("can", "could", "will", "would", "shall", "should", "may", "might", "must"),
    }
)
OPENERS = QUESTION_WORDS | AUXILIARIES
_FIRST_WORD = re.compile(r"\W*(\w+)(['’]t\b)?")

REVIEW_WORDS = (50, 100, 200, 400)
REVIEWS_OF_ITEM = (1, 3, 10, 30)


def slices_of(labels: Sequence[Label], dataset: Dataset) -> list[dict[str, str]]:
    """Return the features of each question.

    Args:
        labels: of one split or several.
        dataset: the data set that they are from, all splits of it.

    Returns:
        Feature -> value for each label; a feature that the label lacks is absent:

        - `domain`: the data set's own;
        - `question_word`: the first word of the question (`how's` counts as `how`), or `other`;
        - `form`: `polar` if that is an auxiliary, so that yes or no answers it; `fragment` if the
          question has neither an auxiliary nor a question word; else `open`;
        - `subjectivity`: whether the question asks for an opinion, `subjective` or `factual`;
        - `answerable`: whether an annotator found an answer, `yes` or `no`;
        - `review_words`: the length of the gold review;
        - `reviews_of_item`: how many reviews the data set has of the item asked about;
        - `item_in_training`: whether the training split has questions about the item, `seen` or
          `unseen`; absent in that split.

    >>> from eval.datasets import load_dataset
    >>> dataset = load_dataset("bundled:sample")
    >>> slices_of(dataset.labels_of("test"), dataset)[0]["question_word"]
    'is'
    """
    reviews = Counter(review.item_id for review in dataset.reviews)
    trained = {label.item_id for label in dataset.labels if label.split == "train"}
    return [_slices(label, reviews, trained) for label in labels]


def _slices(label: Label, reviews: Counter[str], trained: set[str | None]) -> dict[str, str]:
    slices = {}
    domain = label.meta.get("domain")
    if isinstance(domain, str) and domain:
        slices["domain"] = domain
    slices["question_word"] = _question_word(label.question)
    slices["form"] = _form(label.question)
    subjective = label.meta.get("is_ques_subjective")
    if isinstance(subjective, bool):
        slices["subjectivity"] = "subjective" if subjective else "factual"
    slices["answerable"] = "yes" if gold_texts(label) else "no"
    slices["review_words"] = _bin(len(label.context.split()), REVIEW_WORDS)
    if label.item_id is not None:
        if label.item_id in reviews:
            slices["reviews_of_item"] = _bin(reviews[label.item_id], REVIEWS_OF_ITEM)
        if trained and label.split != "train":
            slices["item_in_training"] = "seen" if label.item_id in trained else "unseen"
    return slices


def _question_word(question: str) -> str:
    """Return the first word, contractions expanded.

    >>> [_question_word(text) for text in ("What's it?", "Isn't it?", "Can't it?", "In what?")]
    ['what', 'is', 'can', 'other']
    """
    first = _FIRST_WORD.match(question.lower())
    if first is None:
        return "other"
    word, negated = first.groups()
    if negated and word not in OPENERS:
        word = word.removesuffix("n")
    return word if word in OPENERS else "other"


def _form(question: str) -> str:
    """Return how a question is put.

    >>> [_form(text) for text in ("Isn't it loud?", "Battery life?", "So how loud is it?")]
    ['polar', 'fragment', 'open']
    """
    if _question_word(question) in AUXILIARIES:
        return "polar"
    words = {_question_word(word) for word in question.split()}
    return "open" if words & OPENERS else "fragment"


def in_slice(dataset: Dataset, split: str | None, name: str) -> Dataset:
    """Return a data set of which a split has only the questions of one slice.

    Args:
        dataset: all of it; reviews and other splits stay.
        split: None: all of them.
        name: a value of a feature, such as `polar`, or `FEATURE=VALUE`; see `slices_of`.

    Raises:
        InvalidArgumentError: no question has that value, or several features have it.

    >>> from eval.datasets import load_dataset
    >>> polar = in_slice(load_dataset("bundled:sample"), "test", "polar")
    >>> polar.labels_of("test")[0].question.split()[0]
    'Is'
    """
    labels = dataset.labels_of(split)
    found = slices_of(labels, dataset)
    feature, _, value = name.rpartition("=")
    having = {key for row in found for key, each in row.items() if each == value}
    fitting = having & {feature} if feature else having
    if len(fitting) != 1:
        values = sorted({f"{key}={each}" for row in found for key, each in row.items()})
        raise InvalidArgumentError(
            f"{len(fitting) or 'no'} slices are called {name!r}",
            where=dataset.path,
            remedy=f"Slices there: {', '.join(values)}.",
        )
    [feature] = fitting
    kept = {
        id(label) for label, row in zip(labels, found, strict=True) if row.get(feature) == value
    }
    apart = {id(label) for label in labels} - kept
    labels = tuple(each for each in dataset.labels if id(each) not in apart)
    return replace(dataset, path=f"{dataset.path} ({feature}={value})", labels=labels)


def _bin(count: int, tops: Sequence[int]) -> str:
    """Return the bin of a count; each bin ends at one of `tops`, the last has no end.

    >>> [_bin(count, (1, 3, 10)) for count in (1, 2, 4, 11)]
    ['1', '2-3', '4-10', '11+']
    """
    at = bisect_left(tops, count)
    low = tops[at - 1] + 1 if at else 1
    if at == len(tops):
        return f"{low}+"
    return str(low) if low == tops[at] else f"{low}-{tops[at]}"
