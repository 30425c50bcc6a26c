"""One encoder with every pooling and layer, on a task that the user's data has labels for.

Retrieval: which reviews answer a question. Clustering: whether reviews with the same value of a
field lie together. Either takes vectors and knows nothing of models.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from eval.runs.paired import SEED, Resampling, compare_pairs
from eval.runs.run import Row, Scores
from qa_system.embeddings.pooling import normalized
from qa_system.embeddings.spaces.checks import Floats, Ints, extra_package
from qa_system.errors import EvaluationError
from qa_system.labels import gold_texts
from qa_system.metrics import first_hit_at_random, mean_reciprocal
from qa_system.records import Label, Review

__all__ = ["Clustering", "Measured", "Retrieval", "Task", "measure"]

KS: Final = (1, 3, 10)
HALVES: Final = 100
"""Halves of the reviews from which the intervals of AMI and NMI come."""
PURPOSE: Final = "clustering"


class Task(Protocol):
    """What vectors are measured by."""

    @property
    def kind(self) -> str:
        """Its name."""

    @property
    def questions(self) -> tuple[str, ...]:
        """Texts that are encoded as questions; none: the task has none."""

    @property
    def passages(self) -> tuple[str, ...]:
        """Texts that are encoded as passages."""

    @property
    def primary(self) -> str:
        """The metric that tells which vectors are best; larger is better."""

    def measure(self, questions: Floats, passages: Floats) -> Measured:
        """Score vectors of the texts."""

    def counts(self) -> dict[str, int]:
        """Return how much was measured on."""


@dataclass(frozen=True)
class Measured:
    """What was measured of one way to make vectors.

    Args:
        metrics: name -> value.
        intervals: name -> 95 % interval; None: there is none.
        scores: question by question, where the task has questions.
    """

    metrics: Mapping[str, float]
    intervals: Mapping[str, list[float] | None]
    scores: Scores | None = None


@dataclass(frozen=True)
class Retrieval:
    """Questions, the reviews that compete to answer each, and those that do.

    Args:
        questions: a question about an item once, however many reviews answer it.
        passages: the reviews' texts.
        candidates: for each question, the positions of its reviews.
        gold: for each question, which of its candidates answer it.
        clusters: what each question is drawn with: its item.
        resamples: for each interval and test.
    """

    questions: tuple[str, ...]
    passages: tuple[str, ...]
    candidates: tuple[Ints, ...]
    gold: tuple[NDArray[np.bool_], ...]
    clusters: tuple[str, ...]
    resamples: int = 10_000
    kind: str = "retrieval"
    primary: str = "mrr"

    @classmethod
    def of(
        cls,
        labels: Iterable[Label],
        reviews: Sequence[Review],
        *,
        scope: Literal["item", "open"] = "item",
        resamples: int = 10_000,
    ) -> Retrieval:
        """Make the task of labelled questions and all reviews of their data set.

        Args:
            labels: those without an answer are left out: no review is to be found for them.
            reviews: distinct by id.
            scope: `item`: the reviews of the question's item compete; `open`: all.
            resamples: for each interval and test.

        Raises:
            EvaluationError: no question has an answer in these reviews.
        """
        place = {review.id: at for at, review in enumerate(reviews)}
        of_item: dict[str | None, list[int]] = {}
        for at, review in enumerate(reviews):
            of_item.setdefault(review.item_id, []).append(at)
        answering: dict[tuple[str, str | None], set[int]] = {}
        cluster: dict[tuple[str, str | None], str] = {}
        for label in labels:
            if gold_texts(label) and label.review_id in place:
                asked = (label.question, label.item_id)
                answering.setdefault(asked, set()).add(place[label.review_id])
                cluster.setdefault(asked, Row.of(label, {}, {}).cluster)
        if not answering:
            raise EvaluationError(
                "none of the questions has an answer, so that there is nothing to retrieve",
                remedy="Choose another split.",
            )
        everything = range(len(reviews))
        pools = [
            np.array(
                everything if scope == "open" or item is None else of_item[item], dtype=np.int64
            )
            for _, item in answering
        ]
        return cls(
            tuple(question for question, _ in answering),
            tuple(review.content for review in reviews),
            tuple(pools),
            tuple(
                np.isin(pool, list(gold))
                for pool, gold in zip(pools, answering.values(), strict=True)
            ),
            tuple(cluster.values()),
            resamples,
        )

    def measure(self, questions: Floats, passages: Floats) -> Measured:
        """Rank each question's reviews by the dot product, and score the ranking.

        Reviews with equal scores have no order: a metric is its mean over all orders.
        """
        metrics = (*(f"recall@{k}" for k in KS), "mrr")
        values = np.array(
            [
                _ranked(passages[pool] @ question, gold)
                for question, pool, gold in zip(questions, self.candidates, self.gold, strict=True)
            ]
        )
        scores = Scores(metrics, values)
        found = Resampling(self.clusters, self.resamples).intervals(values)
        means = {name: float(values[:, at].mean()) for at, name in enumerate(metrics)}
        return Measured(means, dict(zip(metrics, found, strict=True)), scores)

    def counts(self) -> dict[str, int]:
        """Return how many questions, items and reviews there are."""
        return {
            "questions": len(self.questions),
            "items": len(set(self.clusters)),
            "reviews": len(self.passages),
        }


@dataclass(frozen=True)
class Clustering:
    """Reviews and a field, whose values are the groups that vectors should show.

    Args:
        passages: the reviews' texts.
        groups: the number of each review's value, from 0.
        resamples: for the interval of the silhouette.
        seed: of k-means and of what is drawn.
    """

    passages: tuple[str, ...]
    groups: Ints
    resamples: int = 10_000
    seed: int = SEED
    questions: tuple[str, ...] = ()
    kind: str = "clustering"
    primary: str = "ami"

    @classmethod
    def of(
        cls,
        reviews: Sequence[Review],
        field: str,
        *,
        most: int = 2000,
        resamples: int = 10_000,
        seed: int = SEED,
    ) -> Clustering:
        """Make the task of reviews that have a field.

        Args:
            reviews: those without the field are left out.
            field: `item`, `rating`, or the name of other metadata.
            most: reviews at most, drawn at random: the silhouette compares every two.
            resamples: for the interval of the silhouette.
            seed: of k-means and of what is drawn.

        Raises:
            EvaluationError: the reviews have fewer than two values of it, or one each.
        """
        known = [(review.content, _value(review, field)) for review in reviews]
        known = [each for each in known if each[1] is not None]
        draw = np.random.default_rng(seed)
        chosen = [known[at] for at in np.sort(draw.permutation(len(known))[:most])]
        values, groups = np.unique([str(value) for _, value in chosen], return_inverse=True)
        if not 1 < len(values) < len(chosen):
            raise EvaluationError(
                f"{len(chosen)} reviews have {len(values)} values of {field!r}, which is no "
                "grouping",
                remedy="Name a field that several reviews share, for example item.",
            )
        return cls(tuple(text for text, _ in chosen), groups.astype(np.int64), resamples, seed)

    def measure(self, questions: Floats, passages: Floats) -> Measured:  # noqa: ARG002
        """Compare the clusters of k-means with the groups, and say how far the groups lie apart.

        AMI: adjusted mutual information (Vinh, Epps and Bailey, 2010), 0 for clusters by chance.
        NMI: the same unadjusted. Both compare the groups with as many clusters. Their intervals
        are from halves of the reviews (Shao and Wu, A General Theory for Jackknife Variance
        Estimation, 1989), as reviews that are drawn twice would be found in one cluster twice.
        Silhouette: of the groups themselves, -1 to 1.
        """
        cluster = extra_package("sklearn.cluster", PURPOSE, "spaces")
        metrics = extra_package("sklearn.metrics", PURPOSE, "spaces")
        means = cluster.KMeans(int(self.groups.max()) + 1, n_init=4, random_state=self.seed)
        found = means.fit_predict(passages)
        lying = metrics.silhouette_samples(passages, self.groups).astype(np.float64)
        of_each = [str(at) for at in range(len(lying))]
        [interval] = Resampling(of_each, self.resamples).intervals(lying[:, None])
        scores: dict[str, Callable[[Ints, Ints], float]] = {
            "ami": metrics.adjusted_mutual_info_score,
            "nmi": metrics.normalized_mutual_info_score,
        }
        values = {name: float(score(self.groups, found)) for name, score in scores.items()}
        draw = np.random.default_rng(self.seed)
        halves = [draw.permutation(len(found))[: len(found) // 2] for _ in range(HALVES)]
        intervals: dict[str, list[float] | None] = {}
        for name, score in scores.items():
            spread = float(np.std([score(self.groups[half], found[half]) for half in halves]))
            intervals[name] = [values[name] - 1.96 * spread, values[name] + 1.96 * spread]
        return Measured(
            {**values, "silhouette": float(lying.mean())}, {**intervals, "silhouette": interval}
        )

    def counts(self) -> dict[str, int]:
        """Return how many reviews and groups there are."""
        return {"reviews": len(self.passages), "groups": int(self.groups.max()) + 1}


def measure(
    task: Task,
    variants: Iterable[tuple[str, Floats, Floats]],
    baseline: str,
    *,
    normalize: bool = True,
) -> dict[str, Any]:
    """Measure several ways to make vectors on one task.

    Args:
        task: what they are measured by.
        variants: a name, vectors of the task's questions, and of its passages; each is dropped
            once it is measured.
        baseline: the name that the others are compared with.
        normalize: give every vector length 1 first, so that the dot product is the cosine.

    Returns:
        JSON values: `rows`, one for each name, with `metrics` and `intervals`; in a task with
        questions also the `difference` in the primary metric from the baseline, its
        `difference_interval` and `p_holm`, adjusted for the number of comparisons. `best`: the
        name with the highest primary metric; `primary`, `baseline`, `kind`, `counts`.
    """
    measured: dict[str, Measured] = {}
    for name, questions, passages in variants:
        if normalize:
            questions, passages = normalized(questions), normalized(passages)
        measured[name] = task.measure(questions, passages)
    rows: dict[str, dict[str, Any]] = {
        name: {"metrics": dict(each.metrics), "intervals": dict(each.intervals)}
        for name, each in measured.items()
    }
    scores = {name: each.scores for name, each in measured.items() if each.scores is not None}
    if isinstance(task, Retrieval) and baseline in scores:
        pairs = [(name, baseline) for name in scores if name != baseline]
        resampling = Resampling(task.clusters, task.resamples)
        for each in compare_pairs(pairs, scores, [task.primary], resampling):
            rows[each["a"]] |= {
                "difference": each["difference"],
                "difference_interval": each["interval"],
                "p_holm": each["p_holm"],
            }
    return {
        "kind": task.kind,
        "primary": task.primary,
        "counts": task.counts(),
        "baseline": baseline,
        "best": max(rows, key=lambda name: rows[name]["metrics"][task.primary]),
        "rows": rows,
    }


def _ranked(scores: Floats, gold: NDArray[np.bool_]) -> list[float]:
    """Return the metrics of one question: recall at each k, and the reciprocal rank."""
    hits = scores[gold]
    above = (scores > hits[:, None]).sum(axis=1)
    tied = (scores == hits[:, None]).sum(axis=1)
    recalls = [float(np.clip((k - above) / tied, 0, 1).mean()) for k in KS]
    first = int(hits.argmax())
    size, relevant = int(tied[first]), int((hits == hits[first]).sum())
    ranks = enumerate(first_hit_at_random(size, relevant, size), start=int(above[first]) + 1)
    return [*recalls, mean_reciprocal(dict(ranks))]


def _value(review: Review, field: str) -> Any:
    known = {"item": review.item_id, "rating": review.meta.get("stars")}
    return known[field] if field in known else review.meta.get(field)
