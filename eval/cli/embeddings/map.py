"""`qa-eval map`: a picture of reviews, by their embeddings."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from eval.cli.evaluation import check_page
from qa_system.console.app import print_json
from qa_system.console.options import ENCODER, JsonOption, takes_settings
from qa_system.errors import ConfigError

if TYPE_CHECKING:
    from qa_system.config import Settings

__all__ = ["map_"]

SourceArgument = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[SOURCE]...",
        help="Files, folders or globs of reviews, as qa-index run reads them, or store:NAME. "
        "Default: the bundled sample.",
    ),
]
PngOption = Annotated[
    Path | None, typer.Option("--png", help="Write a picture to this file: FILE.png.")
]
ProjectionOption = Annotated[
    Literal["pca", "umap", "tsne"],
    typer.Option(help="What places reviews on the plane. umap is an extra: qa-system[umap]."),
]
ClustersOption = Annotated[
    Literal["kmeans", "hdbscan", "none"], typer.Option(help="What finds clusters.")
]
CountOption = Annotated[
    int | None,
    typer.Option(
        min=1, help="Clusters of k-means. Default: the number with the highest silhouette."
    ),
]
FieldOption = Annotated[
    list[str] | None,
    typer.Option(
        help="Colour by this field of the reviews' metadata, too. Repeatable. Always there: "
        "cluster, rating, item."
    ),
]
SaveOption = Annotated[
    Path | None, typer.Option(help="Keep what was fitted in this folder, for --apply.")
]
ApplyOption = Annotated[
    Path | None,
    typer.Option(help="Place reviews in a map that --save has kept; nothing is fitted anew."),
]


@takes_settings(*ENCODER)
def map_(
    settings: Settings,
    source: SourceArgument = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="Write the page to this file: FILE.html.")
    ] = None,
    png: PngOption = None,
    projection: ProjectionOption = "pca",
    clusters: ClustersOption = "kmeans",
    count: CountOption = None,
    field: FieldOption = None,
    most: Annotated[
        int, typer.Option(min=4, help="Reviews at most; of more, a sample is drawn.")
    ] = 10_000,
    pooling: Annotated[
        str | None, typer.Option(help="How a text's tokens are pooled. Default: the model's own.")
    ] = None,
    layer: Annotated[int, typer.Option(help="The layer that is pooled; -1: the last.")] = -1,
    save: SaveOption = None,
    apply: ApplyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Draw reviews as points: those with similar embeddings lie together.

    The page shows the review under the pointer, colours points by cluster, rating or item, and
    has the same reviews as a table. It is one file that loads nothing from the network.
    """
    if out is None and png is None and not as_json:
        raise ConfigError(
            "nothing says where the map goes", remedy="Add --out FILE.html, --png FILE.png or --json."
        )
    check_page(out, png)

    from eval.tasks.mapping import draw_map
    from eval.tasks.reviews import read_reviews

    reviews, there = read_reviews(source or (), settings, most=most, seed=settings.seed)
    mapped = draw_map(
        reviews,
        settings,
        pooling=pooling,
        layer=layer,
        fitted=None if apply is None else apply,
        ...
    )
    _write(mapped, out, png)
