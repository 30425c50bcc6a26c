"""`qa-eval map`: a picture of reviews, by their embeddings."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

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
PoolingOption = Annotated[
    Literal["mean", "max", "min", "cls", "pooler", "last", "weighted_mean"] | None,
    typer.Option(help="How a text's tokens are pooled. Default: the model's own."),
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
    pooling: PoolingOption = None,
    layer: Annotated[int, typer.Option(help="The layer that is pooled; -1: the last.")] = -1,
    save: SaveOption = None,
    apply: ApplyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Draw reviews as points: those with similar embeddings lie together.

    The page shows the review under the pointer, colours points by cluster, rating or item, and
    has the same reviews as a table. It is one file that loads nothing from the network.
    """
    _check_places(out, png, as_json=as_json)

    from eval.report.map import print_map
    from eval.tasks.embeddings.mapping import Drawing, draw_map
    from eval.tasks.embeddings.reviews import read_reviews

    reviews, there = read_reviews(source or (), settings, most=most, seed=settings.seed)
    of_how_many = "" if there == len(reviews) else f", a sample of {there:,}"
    mapped = draw_map(
        reviews,
        settings,
        Drawing(pooling, layer, projection, clusters, count, tuple(field or ())),
        title=f"{', '.join(source or ['the bundled sample'])}{of_how_many}",
        save=save,
        apply=apply,
    )
    _write(mapped, out, png)
    if as_json:
        print_json({key: value for key, value in mapped.items() if key != "texts"})
        return
    print_map(mapped)
    for path in (out, png):
        if path is not None:
            typer.echo(f"map: {path}")


def _check_places(out: Path | None, png: Path | None, *, as_json: bool) -> None:
    """Refuse, before anything is embedded, places that could not be written to."""
    from eval.report.folder import check_places
    from eval.report.plots import require_matplotlib

    if out is None and png is None and not as_json:
        raise ConfigError(
            "nothing says where the map goes",
            remedy="Add --out FILE.html, --png FILE.png or --json.",
        )
    check_places(page=out)
    if png is not None:
        require_matplotlib()
        if png.suffix != ".png":
            raise ConfigError(
                f"{str(png)!r} is no picture", remedy="Name a file that ends in .png."
            )


def _write(mapped: dict[str, Any], out: Path | None, png: Path | None) -> None:
    from eval.report.map import map_page
    from eval.report.plots import to_png
    from eval.report.plots.map import reviews_map
    from eval.runs.storage import make_folder, write_files

    files = {}
    if out is not None:
        files[out] = map_page(mapped).encode()
    if png is not None:
        make_folder(png.parent)
        files[png] = to_png(reviews_map(mapped, mapped["fields"][0]).figure)
    write_files(files)
