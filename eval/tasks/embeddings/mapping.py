"""Reviews as points of a picture: their vectors projected on a plane, with what colours them.

The picture is of a space in which clusters are found, too: vectors of length 1, projected on up to
50 principal components. Both parts are fitted once, saved, and applied again to other reviews.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Final, Literal, cast

import numpy as np

from eval.tasks.embeddings.variants import embedder_of
from qa_system.config import Settings
from qa_system.console.wording import counted
from qa_system.embeddings.spaces.checks import Floats, Ints
from qa_system.embeddings.spaces.clusters import Clusters, Method
from qa_system.embeddings.spaces.space import Space, fit_space
from qa_system.embeddings.spaces.steps import Principal
from qa_system.errors import DataError, InvalidArgumentError
from qa_system.records import Review

__all__ = ["Chart", "Drawing", "Projection", "draw_map", "field_of", "fit_chart", "map_reviews"]

Projection = Literal["pca", "umap", "tsne"]

KEPT: Final = 50
"""Components in which clusters are found, and from which UMAP and t-SNE start."""
MOST_VALUES: Final = 12
"""Values of a field that have a colour and a shape of their own."""
BINS: Final = 5
REST: Final = "other values"
PLANE: Final = 2
EXPLAINED: Final[dict[str, str]] = {
    "umap": "UMAP places a review beside those with the most similar embeddings. Distances between "
    "groups that lie apart, and the sizes of groups, say little.",
    "tsne": "t-SNE places a review beside those with the most similar embeddings. Distances "
    "between groups that lie apart, and the sizes of groups, say little.",
}


@dataclass(frozen=True, eq=False)
class Chart:
    """A picture's two spaces: where clusters are, and where reviews are placed.

    Args:
        clustered: ends before the projection; its clusters may be None.
        placed: ends in the plane.
        projection: its last step.
    """

    clustered: Space
    placed: Space
    projection: Projection

    def places(self, vectors: Floats) -> Floats:
        """Return where vectors lie, shape (texts, 2)."""
        places = self.placed.apply(vectors)[:, :PLANE]
        return np.pad(places, ((0, 0), (0, PLANE - places.shape[1])))

    def save(self, folder: Path) -> None:
        """Write both spaces under a folder.

        Raises:
            DataError: they cannot be written.
        """
        self.clustered.save(folder / "clusters")
        self.placed.save(folder / "map")

    @classmethod
    def load(cls, folder: Path, made_with: Mapping[str, Any]) -> Chart:
        """Read what `save` has written.

        Args:
            folder: it was written to.
            made_with: what made the vectors that it is to be applied to.

        Raises:
            DataError: it is missing or damaged, or was fitted on vectors that something else made.
        """
        clustered, placed = Space.load(folder / "clusters"), Space.load(folder / "map")
        for name, value in made_with.items():
            fitted = clustered.made_with.get(name)
            if fitted != value or placed.made_with.get(name) != value:
                raise DataError(
                    f"the map was fitted with {name} {fitted!r}, and these reviews are embedded "
                    f"with {value!r}",
                    where=str(folder),
                    remedy="Embed them as it was fitted, or fit another map.",
                )
        return cls(clustered, placed, cast("Projection", placed.steps[-1][0]))


@dataclass(frozen=True, slots=True)
class Drawing:
    """How a map is made.

    Args:
        pooling: of the vectors; None: the model's own.
        layer: that is pooled.
        projection: what places reviews on the plane.
        clusters: what finds clusters, or `none`.
        count: clusters of k-means; None: chosen.
        fields: metadata that colours, too.
    """

    pooling: str | None = None
    layer: int = -1
    projection: Projection = "pca"
    clusters: Method | Literal["none"] = "kmeans"
    count: int | None = None
    fields: tuple[str, ...] = ()


def draw_map(
    reviews: Sequence[Review],
    settings: Settings,
    drawing: Drawing,
    *,
    title: str = "",
    save: Path | None = None,
    apply: Path | None = None,
) -> dict[str, Any]:
    """Embed reviews, and place them in a picture.

    Args:
        reviews: that are shown.
        settings: `encoder` embeds them.
        drawing: how it is made.
        title: of the picture.
        save: the folder in which what was fitted is kept; None: nowhere.
        apply: a folder of `save`, whose picture they are placed in; None: one is fitted.

    Returns:
        As `map_reviews`.

    Raises:
        DataError: a folder cannot be written, or was fitted with other vectors.
        InvalidArgumentError: there are too few reviews, or no review has one of the fields.
        QASystemError: as in `load_embedder` and `fit_chart`.
    """
    embedder = embedder_of(settings, pooling=drawing.pooling, layer=drawing.layer)
    made_with = {
        "encoder": settings.encoder.model,
        "weights": embedder.fingerprint(),
        "pooling": drawing.pooling,
        "layer": drawing.layer,
    }
    texts = [review.content for review in reviews]
    vectors = embedder.encode(texts)
    labels = None
    if apply is not None:
        chart = Chart.load(apply, {key: made_with[key] for key in made_with if key != "encoder"})
    else:
        chart, labels = fit_chart(
            vectors,
            texts,
            projection=drawing.projection,
            method=None if drawing.clusters == "none" else drawing.clusters,
            count=drawing.count,
            seed=settings.seed,
            made_with=made_with,
        )
    if save is not None:
        chart.save(save)
    return map_reviews(
        reviews,
        vectors,
        chart,
        labels,
        title=title,
        fields=drawing.fields,
        made_with={**made_with, "projection": chart.projection, "seed": settings.seed},
    )


def fit_chart(
    vectors: Floats,
    texts: Sequence[str],
    *,
    projection: Projection = "pca",
    method: Method | None = "kmeans",
    count: int | None = None,
    seed: int = 13,
    made_with: Mapping[str, Any] | None = None,
) -> tuple[Chart, Ints | None]:
    """Fit a picture.

    Args:
        vectors: shape (texts, dimension).
        texts: theirs, which name the clusters.
        projection: what places the reviews.
        method: what finds clusters; None: nothing.
        count: how many k-means finds; None: as many as have the highest silhouette.
        seed: of everything that is random.
        made_with: what made the vectors.

    Returns:
        The picture, and the number of each text's cluster; None: there are no clusters.

    Raises:
        InvalidArgumentError: there are too few vectors, or they are all alike.
        MissingDependencyError: scikit-learn or UMAP is needed and not installed.
    """
    whole = cast("Principal", fit_space(vectors, ["normalize", "pca"]).steps[-1][1])
    kept = min(KEPT, len(whole.components))
    clustered = fit_space(vectors, ["normalize", f"pca:{kept}"], made_with=made_with)
    last = [] if projection == "pca" else [projection]
    steps = ["normalize", f"pca:{kept if last else min(kept, PLANE)}", *last]
    placed = fit_space(vectors, steps, seed=seed, made_with=made_with)
    labels = None
    if method is not None:
        clustered, labels = clustered.with_clusters(
            vectors, texts, method=method, count=count, seed=seed
        )
    return Chart(clustered, placed, projection), labels


def map_reviews(
    reviews: Sequence[Review],
    vectors: Floats,
    chart: Chart,
    labels: Ints | None = None,
    *,
    title: str = "",
    fields: Sequence[str] = (),
    made_with: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Place reviews in a picture.

    Args:
        reviews: that are shown.
        vectors: theirs, as they come from the encoder.
        chart: fitted on these, or on others.
        labels: the cluster of each, where it was fitted on these; None: the chart says.
        title: of the picture.
        fields: names of metadata that colour, beside cluster, rating and item.
        made_with: what a reader of the page should know.

    Returns:
        JSON values: `x`, `y`, `texts`, `ids`, `fields` (see `field_of`), `axes`, `explanation`,
        `clusters` (`sizes` and a `note`; None: there are none), `title`, `made_with`.

    Raises:
        InvalidArgumentError: no review has one of the fields.
    """
    places = chart.places(vectors)
    clusters, sizes, shown = chart.clustered.clusters, None, []
    if clusters is not None:
        labels = chart.clustered.assign(vectors) if labels is None else labels
        names = [None if label < 0 else clusters.names[label] for label in labels]
        shown.append(field_of("cluster", names))
        sizes = _sizes(clusters, labels)
    for name, key in {"rating": "stars", **{each: each for each in fields}}.items():
        values = [review.meta.get(key) for review in reviews]
        if any(value is not None for value in values):
            shown.append(field_of(name, values))
        elif name in fields:
            raise InvalidArgumentError(
                f"no review has a field {name!r}", remedy="Name a field of the reviews' metadata."
            )
    shown.append(field_of("item", [review.item_id for review in reviews]))
    return {
        "title": title,
        "ids": [review.id for review in reviews],
        "texts": [review.content for review in reviews],
        "x": places[:, 0].round(5).tolist(),
        "y": places[:, 1].round(5).tolist(),
        "fields": shown,
        "axes": _axes(chart),
        "explanation": _explained(chart),
        "clusters": sizes,
        "made_with": dict(made_with or {}),
    }


def field_of(name: str, values: Sequence[Any]) -> dict[str, Any]:
    """Turn a field's values into a few that have a colour each.

    Args:
        name: of the field.
        values: one a review; None: it has none.

    Returns:
        `name`; `values`: those with a colour, in order (numbers) or the most frequent first;
        `of`: the number of each review's value among them, -1 where it has none; `ordered`:
        whether they are numbers; `rest`: the number of that which stands for all others, or None.
        Of more than 12 numbers, five ranges with about as many reviews each have a colour.

    >>> field_of("rating", [5, 1, None, 5])["of"], field_of("rating", [5, 1])["values"]
    ([1, 0, -1, 1], ['1', '5'])
    """
    known = [value for value in values if value is not None]
    if known and all(_is_number(value) for value in known):
        named, of = _in_order(values, sorted(set(known)))
        return {"name": name, "values": named, "of": of, "ordered": True, "rest": None}
    counts = Counter(str(value) for value in known)
    ranked = [value for value, _ in sorted(counts.items(), key=lambda each: (-each[1], each[0]))]
    rest = len(ranked) > MOST_VALUES
    shown = [*ranked[: MOST_VALUES - 1], REST] if rest else ranked
    number = {value: at for at, value in enumerate(shown)}
    last = len(shown) - 1
    of = [-1 if value is None else number.get(str(value), last) for value in values]
    return {
        "name": name,
        "values": shown,
        "of": of,
        "ordered": False,
        "rest": last if rest else None,
    }


def _in_order(values: Sequence[Any], different: Sequence[float]) -> tuple[list[str], list[int]]:
    if len(different) <= MOST_VALUES:
        number = {value: at for at, value in enumerate(different)}
        named = [f"{value:g}" for value in different]
        return named, [-1 if value is None else number[value] for value in values]
    known = np.array([value for value in values if value is not None], np.float64)
    edges = np.unique(np.quantile(known, np.linspace(0, 1, BINS + 1)))
    named = [f"{low:g} to {high:g}" for low, high in pairwise(edges)]
    last = len(named) - 1
    return named, [
        -1 if value is None else min(int(np.searchsorted(edges, value, side="right")) - 1, last)
        for value in values
    ]


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _axes(chart: Chart) -> list[str]:
    if chart.projection != "pca":
        return ["", ""]
    step = cast("Principal", chart.placed.steps[-1][1])
    shares = step.variances * (step.share / step.variances.sum())
    said = [f"component {at}: {each:.1%} of the variance" for at, each in enumerate(shares, 1)]
    return [*said, ""][:PLANE]


def _explained(chart: Chart) -> str:
    if chart.projection != "pca":
        return EXPLAINED[chart.projection]
    share = cast("Principal", chart.placed.steps[-1][1]).share
    return (
        "Reviews with similar embeddings lie close together. Principal components: the two "
        f"directions along which the embeddings vary most, {share:.0%} of the variance; reviews "
        "that differ in others can lie close together, too."
    )


def _sizes(clusters: Clusters, labels: Ints) -> dict[str, Any]:
    sizes = [(name, int((labels == number).sum())) for number, name in enumerate(clusters.names)]
    notes = []
    none = int((labels < 0).sum())
    if none:
        notes.append(f"{counted(none, 'review')} in no cluster.")
    if clusters.method == "hdbscan":
        notes.append(
            "A new review is in the cluster with the nearest centroid, unless it lies farther "
            "from it than all of the cluster's reviews; this rule puts "
            f"{clusters.agreement:.1%} of the fitted reviews where HDBSCAN put them."
        )
    return {"method": clusters.method, "sizes": sizes, "note": " ".join(notes)}
