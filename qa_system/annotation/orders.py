"""In which order tasks are shown, so that the first labels teach a reader most.

`uncertain`: the reader's closest decisions first (Lewis and Gale, A Sequential Algorithm for
Training Text Classifiers, 1994). `diverse`: each task is the one farthest from all before it
(k-center, greedily; Sener and Savarese, Active Learning for Convolutional Neural Networks: A
Core-Set Approach, 2018). `mixed`: that distance times the reader's uncertainty. `random`: a drawn
sample, by which a reader can be measured without bias.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final, Literal

import numpy as np
from numpy.typing import NDArray

from qa_system.annotation.tasks import Task

if TYPE_CHECKING:
    from qa_system.retrievers.encoders import Encoder

__all__ = ["Embed", "OrderName", "embed_tasks", "farthest_first", "ordered", "uncertain_first"]

OrderName = Literal["uncertain", "diverse", "mixed", "random"]
FloatArray = NDArray[np.floating]
Embed = Callable[[Sequence[Task]], FloatArray]
"""Tasks -> a vector of length 1 for each, shape (tasks, dimensions)."""

BY_DISTANCE: Final = 1000
"""Tasks that are chosen by distance; the rest follow with the uncertain ones first."""


def ordered(tasks: Sequence[Task], order: OrderName, embed: Embed, seed: int = 13) -> list[Task]:
    """Return tasks in the order in which they are shown; the same for the same tasks.

    Args:
        tasks: in any order.
        order: see the module.
        embed: called where distances are needed.
        seed: of the random order.
    """
    if order == "random":
        return random.Random(seed).sample(sorted(tasks, key=lambda task: task.id), len(tasks))
    uncertain = uncertain_first(tasks)
    if order == "uncertain" or not tasks:
        return uncertain
    weights = np.ones(len(tasks))
    if order == "mixed":
        weights -= [min(_margin(task), 1.0) for task in uncertain]
    chosen = farthest_first(embed(uncertain), weights, BY_DISTANCE)
    rest = set(range(len(tasks))) - set(chosen)
    return [uncertain[place] for place in (*chosen, *sorted(rest))]


def uncertain_first(tasks: Sequence[Task]) -> list[Task]:
    """Return tasks with the reader's closest decisions first: score nearest to the threshold.

    >>> sure, unsure = Task("Loud?", "fan", "r1", "", score=0.9), Task("Loud?", "fan", "r2", "")
    >>> [task.review_id for task in uncertain_first([sure, unsure])]
    ['r2', 'r1']
    """
    return sorted(tasks, key=_margin)


def farthest_first(vectors: FloatArray, weights: FloatArray, count: int) -> list[int]:
    """Choose places one by one: of the largest weighted distance to the nearest one chosen before.

    The distance is 1 - cosine. Of equal ones the first is chosen.

    Args:
        vectors: of length 1, shape (places, dimensions).
        weights: what the distance of each counts for; the first choice has the largest.
        count: of choices at most.

    >>> east, north, nearly = [1.0, 0.0], [0.0, 1.0], [0.8, 0.6]
    >>> farthest_first(np.array([east, nearly, north]), np.ones(3), 2)
    [0, 2]
    """
    nearest = np.full(len(vectors), np.inf)
    free = np.ones(len(vectors), dtype=bool)
    chosen: list[int] = []
    gains = weights
    for _ in range(min(count, len(vectors))):
        place = int(np.argmax(np.where(free, gains, -np.inf)))
        chosen.append(place)
        free[place] = False
        nearest = np.minimum(nearest, 1 - vectors @ vectors[place])
        gains = nearest * weights
    return chosen


def embed_tasks(tasks: Sequence[Task], encoder: Encoder) -> FloatArray:
    """Return the vectors of tasks: the question's and the review's, joined.

    The distance of two tasks is then the mean of the distances of their questions and of their
    reviews. A question or a review that comes again is encoded once.
    """
    questions = {task.question: place for place, task in enumerate(_once(tasks, "question"))}
    texts = {task.text: place for place, task in enumerate(_once(tasks, "text"))}
    asked = _unit(encoder.encode_questions(list(questions)))
    read = _unit(encoder.encode_passages(list(texts), [None] * len(texts)))
    joined = np.concatenate(
        [
            asked[[questions[task.question] for task in tasks]],
            read[[texts[task.text] for task in tasks]],
        ],
        axis=1,
    )
    vectors: FloatArray = joined / np.sqrt(2)
    return vectors


def _once(tasks: Sequence[Task], field: str) -> list[Task]:
    return list({getattr(task, field): task for task in tasks}.values())


def _unit(vectors: FloatArray) -> FloatArray:
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors / np.where(lengths > 0, lengths, 1.0)


def _margin(task: Task) -> float:
    return abs(task.score - task.threshold)
