"""`qa embed`: texts as vectors, in a file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from qa_system.config.choices import Backend, Precision
from qa_system.console.app import note, print_json
from qa_system.console.options import STORE, JsonOption, takes_settings
from qa_system.console.wording import counted

if TYPE_CHECKING:
    from qa_system.config import EncoderSettings, Settings
    from qa_system.embeddings import EmbeddingSettings, EmbedReport

__all__ = ["embed"]

VECTORS = "Vectors"
SPEED = "Model"

SourceArgument = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="SOURCE...",
        help="Read the texts of these files (CSV, JSON Lines, Parquet), folders or globs; `-` is "
        "standard input.",
        show_default="the documents of --store",
    ),
]
OutOption = Annotated[
    Path,
    typer.Option("--out", help="Write this file: FILE.npy, FILE.parquet or FILE.safetensors."),
]
FieldOption = Annotated[
    str | None,
    typer.Option(
        "--field",
        help="Take the texts from this column.",
        show_default="found by its name",
    ),
]
EncodingOption = Annotated[
    str | None,
    typer.Option("--encoding", help="Read CSV and JSON in this encoding.", show_default="detected"),
]
ModelOption = Annotated[
    str | None,
    typer.Option(
        "--model",
        help="Embed with this model: bundled:NAME, a folder or a Hub id.",
        show_default="encoder.model, bundled:encoder",
        rich_help_panel=SPEED,
    ),
]
PoolingOption = Annotated[
    Literal["mean", "max", "min", "cls", "pooler", "last", "weighted_mean", "none"] | None,
    typer.Option(
        "--pooling",
        help="Make a text's vector of those of its tokens; none: a vector for each token.",
        show_default="the model's own",
        rich_help_panel=VECTORS,
    ),
]
LayerOption = Annotated[
    list[int] | None,
    typer.Option(
        "--layer",
        help="Take the vectors after this layer: 0 is the table of embeddings, -1 the last layer. "
        "Repeatable.",
        show_default="-1",
        rich_help_panel=VECTORS,
    ),
]
CombineOption = Annotated[
    Literal["mean", "concat"],
    typer.Option(
        "--combine",
        help="Average several layers, or put one after the other.",
        rich_help_panel=VECTORS,
    ),
]
NormalizeOption = Annotated[
    bool | None,
    typer.Option(
        "--normalize/--no-normalize",
        help="Give every vector length 1, or not.",
        show_default="as the model was trained",
        rich_help_panel=VECTORS,
    ),
]
DimensionsOption = Annotated[
    int | None,
    typer.Option(
        "--dimensions",
        help="Keep the first numbers of a vector only, of a model that was trained so.",
        show_default="all",
        rich_help_panel=VECTORS,
    ),
]
DtypeOption = Annotated[
    Literal["float32", "int8", "binary"],
    typer.Option(
        "--dtype",
        help="Write numbers of this kind: int8 takes a quarter of the bytes, binary a bit a "
        "number.",
        rich_help_panel=VECTORS,
    ),
]
RoleOption = Annotated[
    Literal["passage", "question"] | None,
    typer.Option(
        "--role",
        help="Say what the texts are, to a model that puts other words before each kind.",
        show_default="passage",
        rich_help_panel=VECTORS,
    ),
]
PrefixOption = Annotated[
    str | None,
    typer.Option(
        "--prefix",
        help="Put this before each text.",
        show_default="the model's own",
        rich_help_panel=VECTORS,
    ),
]
BackendOption = Annotated[
    Backend | None,
    typer.Option("--backend", help="Run the model with this library.", rich_help_panel=SPEED),
]
PrecisionOption = Annotated[
    Precision | None,
    typer.Option(
        "--precision", help="Compute with numbers of this precision.", rich_help_panel=SPEED
    ),
]
DeviceOption = Annotated[
    str | None,
    typer.Option(
        "--device",
        help="Run the model on this device: auto, cpu, cuda, cuda:1 and so on, or mps.",
        rich_help_panel=SPEED,
    ),
]
LengthOption = Annotated[
    int | None,
    typer.Option(
        "--max-seq-length",
        help="Read at most this many tokens of a text.",
        show_default="the model's own",
        rich_help_panel=SPEED,
    ),
]
BatchOption = Annotated[
    int | None,
    typer.Option(
        "--batch-tokens",
        help="Put this many tokens, with padding, into one forward pass.",
        show_default="by the device",
        rich_help_panel=SPEED,
    ),
]
ThreadsOption = Annotated[
    int | None,
    typer.Option("--threads", help="Run the model on this many threads.", rich_help_panel=SPEED),
]
RestartOption = Annotated[
    bool,
    typer.Option("--restart", help="Embed all texts again, over what an earlier run has left."),
]


@takes_settings(STORE)
def embed(
    settings: Settings,
    sources: SourceArgument = None,
    *,
    out: OutOption,
    field: FieldOption = None,
    encoding: EncodingOption = None,
    store: str | None = None,
    model: ModelOption = None,
    pooling: PoolingOption = None,
    layer: LayerOption = None,
    combine: CombineOption = "mean",
    normalize: NormalizeOption = None,
    dimensions: DimensionsOption = None,
    dtype: DtypeOption = "float32",
    role: RoleOption = None,
    prefix: PrefixOption = None,
    backend: BackendOption = None,
    precision: PrecisionOption = None,
    device: DeviceOption = None,
    max_seq_length: LengthOption = None,
    batch_tokens: BatchOption = None,
    threads: ThreadsOption = None,
    restart: RestartOption = False,
    as_json: JsonOption = False,
) -> None:
    """Embed texts: qa embed reviews.csv --field text --out vectors.npy.

    Row i of the file is the vector of text i. An empty text has a row of zeros;
    equal texts are computed once. A run that was killed goes on when run again.
    """
    if sources and store is not None:
        raise typer.BadParameter("name files or --store, not both")
    if not sources and (field is not None or encoding is not None):
        raise typer.BadParameter("--field and --encoding go with files")
    model_given = {
        "model": model,
        "backend": backend,
        "precision": precision,
        "device": device,
        "max_seq_length": max_seq_length,
        "batch_tokens": batch_tokens,
        "threads": threads,
    }
    vectors_given = {
        "pooling": pooling,
        "layer": layer or -1,
        "combine": combine,
        "normalize": normalize,
        "dimensions": dimensions,
        "role": role,
        "prefix": prefix,
    }
    wanted = _embedding_settings(settings.encoder, model_given, vectors_given)
    options: dict[str, Any] = {"dtype": dtype, "restart": restart}
    if sources:
        report = _embed_files(sources, field, encoding, out, wanted, options)
    else:
        report = _embed_store(settings, out, wanted, options)
    print_json(report.to_dict()) if as_json else _print_report(report)


def _embed_files(
    sources: list[str],
    field: str | None,
    encoding: str | None,
    out: Path,
    wanted: EmbeddingSettings,
    options: dict[str, Any],
) -> EmbedReport:
    from qa_system.embeddings import embed_to_file
    from qa_system.embeddings.texts import FileTexts

    texts = FileTexts(sources, field, encoding)
    report = embed_to_file(texts, out, wanted, **options)
    if texts.unusable:
        note(f"{counted(texts.unusable, 'row')} could not be read, and have zeros")
    return report


def _embed_store(
    settings: Settings, out: Path, wanted: EmbeddingSettings, options: dict[str, Any]
) -> EmbedReport:
    from qa_system.embeddings import embed_to_file
    from qa_system.embeddings.texts import StoreTexts
    from qa_system.stores import open_store

    with open_store(settings.store) as opened:
        return embed_to_file(StoreTexts(opened, settings.store.place), out, wanted, **options)


def _embedding_settings(
    encoder: EncoderSettings, model: dict[str, Any], vectors: dict[str, Any]
) -> EmbeddingSettings:
    """Return the settings of an embedding; what is not given of the model is the encoder's."""
    from qa_system.embeddings import EmbeddingSettings
    from qa_system.retrievers.late_encoder import section_of

    own = {
        name: getattr(encoder, name) if value is None else value for name, value in model.items()
    }
    return section_of(EmbeddingSettings, own | vectors, "encoder")


def _print_report(report: EmbedReport) -> None:
    made = report.rows - report.resumed
    if report.rows and not made:
        typer.echo("nothing was left to embed: an earlier run had done it all")
    rate = f", {made / report.seconds:,.0f} texts/s" if made and report.seconds > 0 else ""
    tokens = "" if report.tokens is None else f", {counted(report.tokens, 'token')}"
    typer.echo(
        f"{counted(report.rows, 'text')}{tokens}: {report.dimension:,} dimensions, {report.dtype}. "
        f"{report.seconds:,.1f} s{rate}"
    )
    details = {
        "empty": report.empty,
        "equal to an earlier one": report.duplicates,
        "longer than the model reads, and cut": report.truncated,
        "done by an earlier run": report.resumed if made else 0,
    }
    for said, number in details.items():
        if number:
            typer.echo(f"{number:,} {said}")
    if report.recall is not None:
        typer.echo(
            f"{report.recall:.1%} of the ten nearest neighbours are those of the whole vectors"
        )
    typer.echo(f"vectors: {report.out}")
