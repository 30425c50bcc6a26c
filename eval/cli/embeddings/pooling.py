"""`qa-eval pooling`: one encoder with every pooling and layer."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from eval.cli.evaluation import load
from eval.cli.options import DatasetOption, ResamplesOption, SplitOption
from qa_system.console.app import print_json
from qa_system.console.options import ENCODER, JsonOption, takes_settings

if TYPE_CHECKING:
    from eval.tasks.embeddings.pooling import Task
    from qa_system.config import Settings
    from qa_system.datasets.dataset import Dataset

__all__ = ["pooling"]

PoolingOption = Annotated[
    list[str] | None,
    typer.Option(
        "--pooling",
        help="Poolings to compare: mean max min cls last weighted_mean pooler. "
        "Default: all but pooler.",
    ),
]
LayerOption = Annotated[
    list[int] | None,
    typer.Option(
        "--layer",
        help="Layers to compare: 0 the embeddings of words, -1 the last. Default: all.",
    ),
]
AgainstOption = Annotated[
    str | None,
    typer.Option(
        help="Compare clusters of the reviews with this field, instead of asking questions: "
        "item, rating, or the name of other metadata."
    ),
]
ScopeOption = Annotated[
    Literal["item", "open"],
    typer.Option("--scope", help="What competes for a question: its item's reviews, or all."),
]
DimensionsOption = Annotated[
    list[int] | None,
    typer.Option(min=1, help="Also measure vectors cut to so many numbers: 64 128."),
]
DtypeOption = Annotated[
    list[str] | None,
    typer.Option("--dtype", help="Also measure vectors kept as: int8 binary."),
]


@takes_settings(*ENCODER)
def pooling(
    settings: Settings,
    dataset: DatasetOption = None,
    split: SplitOption = None,
    against: AgainstOption = None,
    scope: ScopeOption = "item",
    pooling: PoolingOption = None,
    layer: LayerOption = None,
    dimensions: DimensionsOption = None,
    dtype: DtypeOption = None,
    normalize: Annotated[
        bool, typer.Option("--normalize/--no-normalize", help="Give every vector length 1.")
    ] = True,
    most: Annotated[
        int, typer.Option(min=2, help="Reviews that are clustered at most; more are sampled.")
    ] = 2000,
    out: Annotated[
        Path | None, typer.Option("--out", help="Write a page with plots to this file: FILE.html.")
    ] = None,
    resamples: ResamplesOption = 10_000,
    as_json: JsonOption = False,
) -> None:
    """Compare every pooling and layer of one encoder on your own labels.

    Retrieval: which of an item's reviews answers a question, by MRR and recall. With --against,
    clustering: whether reviews with the same value of a field lie together. The model reads each
    text once for all poolings and layers.
    """
    if out is not None:
        from eval.report.folder import check_places

        check_places(page=out)
    data, split = load(dataset, split, settings)

    from eval.runs.provenance import made_with
    from eval.tasks.embeddings.variants import compare_variants

    task = _task(data, split, settings, against, scope, most, resamples)
    report = compare_variants(
        task,
        settings,
        poolings=pooling,
        layers=layer,
        normalize=normalize,
        dimensions=dimensions or (),
        dtypes=dtype or (),
    )
    report["made_with"] = made_with(
        settings, data, split, {"encoder": settings.encoder.model}, normalize=normalize
    )
    _hand_over(report, out, as_json=as_json)


def _hand_over(report: dict[str, Any], out: Path | None, *, as_json: bool) -> None:
    from eval.report.pooling import pooling_page, print_pooling
    from eval.runs.storage import write_files

    if out is not None:
        write_files({out: pooling_page(report).encode()})
    if as_json:
        print_json(report)
        return
    print_pooling(report)
    if out is not None:
        typer.echo(f"page: {out}")


def _task(
    data: Dataset,
    split: str | None,
    settings: Settings,
    against: str | None,
    scope: Literal["item", "open"],
    most: int,
    resamples: int,
) -> Task:
    from eval.tasks.embeddings.pooling import Clustering, Retrieval

    if against is None:
        return Retrieval.of(data.labels_of(split), data.reviews, scope=scope, resamples=resamples)
    return Clustering.of(data.reviews, against, most=most, resamples=resamples, seed=settings.seed)
