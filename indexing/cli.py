"""`qa-index`: fill a store, look at it, check it, embed it anew."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from qa_system.console import print_json, run_app

if TYPE_CHECKING:
    from indexing.job import JobReport
    from qa_system.config import Settings

__all__ = ["app", "main"]

app = typer.Typer(
    help="Index customer reviews, so that questions can be answered from them.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

SOURCE = "Source"
STORE = "Store"
ENCODER = "Encoder"

ConfigArgument = Annotated[
    Path | None, typer.Argument(metavar="[CONFIG]", help="YAML settings; none: the defaults.")
]
ConfigOption = Annotated[
    Path | None, typer.Option("--config", "-c", help="YAML settings; none: the defaults.")
]
StoreOption = Annotated[
    str | None,
    typer.Option(
        "--store", help="The store's folder, or its index on a server.", rich_help_panel=STORE
    ),
]
EncoderOption = Annotated[
    str | None,
    typer.Option("--encoder", help="bundled:NAME, a folder or a Hub id.", rich_help_panel=ENCODER),
]
QuestionEncoderOption = Annotated[
    str | None,
    typer.Option(help="A second tower for questions, as DPR has it.", rich_help_panel=ENCODER),
]
BackendOption = Annotated[
    str | None, typer.Option(help="auto, onnx or torch.", rich_help_panel=ENCODER)
]
PrecisionOption = Annotated[
    str | None, typer.Option(help="auto, fp32, bf16, fp16 or int8.", rich_help_panel=ENCODER)
]
DeviceOption = Annotated[
    str | None, typer.Option(help="auto, cpu or cuda.", rich_help_panel=ENCODER)
]
BatchTokensOption = Annotated[
    int | None,
    typer.Option(help="Padded tokens in one forward pass.", rich_help_panel=ENCODER),
]
ThreadsOption = Annotated[
    int | None, typer.Option(help="Threads of the encoder.", rich_help_panel=ENCODER)
]
MaxSeqLengthOption = Annotated[
    int | None,
    typer.Option(help="Tokens that the encoder reads of a text.", rich_help_panel=ENCODER),
]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Any setting, e.g. encoder.threads=2."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="JSON on stdout.")]


@app.command()
def run(
    config: ConfigArgument = None,
    source: Annotated[
        list[str] | None,
        typer.Option(
            "--source",
            "-s",
            help="A file, folder or glob, or - for standard input. SubjQA, CSV, JSON Lines or "
            "Parquet, plain or .gz, is recognised. Repeatable.",
            rich_help_panel=SOURCE,
        ),
    ] = None,
    format_: Annotated[
        str | None,
        typer.Option(
            "--format", help="auto, subjqa, csv, jsonl or parquet.", rich_help_panel=SOURCE
        ),
    ] = None,
    column: Annotated[
        list[str] | None,
        typer.Option(
            metavar="FIELD=COLUMN",
            help="Which column holds review_id, item_id or text, e.g. text=body. Repeatable.",
            rich_help_panel=SOURCE,
        ),
    ] = None,
    type_: Annotated[
        list[str] | None,
        typer.Option(
            "--type",
            metavar="COLUMN=TYPE",
            help="A metadata column that is always text or number, e.g. zip=text. Repeatable.",
            rich_help_panel=SOURCE,
        ),
    ] = None,
    max_text_chars: Annotated[
        int | None,
        typer.Option(help="A longer review is set aside.", rich_help_panel=SOURCE),
    ] = None,
    max_words: Annotated[
        int | None,
        typer.Option(
            help="Split longer reviews into passages of so many words.", rich_help_panel=SOURCE
        ),
    ] = None,
    overlap_words: Annotated[
        int | None,
        typer.Option(help="Words that two passages share.", rich_help_panel=SOURCE),
    ] = None,
    batch_size: Annotated[int | None, typer.Option(help="Rows between two checkpoints.")] = None,
    rejects: Annotated[str | None, typer.Option(help="Where rows go that cannot be used.")] = None,
    max_rejects: Annotated[
        int | None, typer.Option(help="Stop, with exit code 1, when there are more.")
    ] = None,
    delete_missing: Annotated[
        bool | None,
        typer.Option(
            "--delete-missing/--keep-missing",
            help="Delete reviews that the sources hold no more, after a complete run.",
            show_default="keep",
        ),
    ] = None,
    state: Annotated[
        str | None,
        typer.Option(
            help="The folder of checkpoints; default: STORE/jobs, for a server "
            ".qa-index/HOST-PORT-INDEX."
        ),
    ] = None,
    rebuild: Annotated[
        bool,
        typer.Option(
            "--rebuild",
            help="Index everything into a new version, and let it be read when it is whole "
            "(Elasticsearch).",
        ),
    ] = False,
    store: StoreOption = None,
    index: Annotated[
        str | None,
        typer.Option(help="auto, flat, hnsw, ivf_flat, ivf_pq or sq8.", rich_help_panel=STORE),
    ] = None,
    similarity: Annotated[
        str | None,
        typer.Option(
            help="dot_product, cosine or l2; default: the encoder's.", rich_help_panel=STORE
        ),
    ] = None,
    gpu: Annotated[
        bool | None,
        typer.Option("--gpu/--no-gpu", help="Search on the GPU.", rich_help_panel=STORE),
    ] = None,
    encoder: EncoderOption = None,
    question_encoder: QuestionEncoderOption = None,
    embed: Annotated[
        bool | None,
        typer.Option(
            "--embed/--no-embed",
            help="Without embeddings, only BM25 finds the reviews.",
            rich_help_panel=ENCODER,
            show_default="embed",
        ),
    ] = None,
    backend: BackendOption = None,
    precision: PrecisionOption = None,
    device: DeviceOption = None,
    max_seq_length: MaxSeqLengthOption = None,
    batch_tokens: BatchTokensOption = None,
    threads: ThreadsOption = None,
    set_: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Index reviews; run it again at any time, it does only what is left to do.

    Unchanged reviews are skipped, changed ones replaced. A run that was stopped
    or killed goes on from its checkpoint when the same command is run again.
    Rows that cannot be used go to a reject file with their line and the reason.
    """
    flags: dict[str, Any] = {
        "indexing.sources": source or None,
        "indexing.format": format_,
        "indexing.types": _pairs("--type", type_),
        "indexing.max_text_chars": max_text_chars,
        "indexing.passages.max_words": max_words,
        "indexing.passages.overlap_words": overlap_words,
        "indexing.batch_size": batch_size,
        "indexing.rejects": rejects,
        "indexing.max_rejects": max_rejects,
        "indexing.delete_missing": delete_missing,
        "indexing.state": state,
        "indexing.embed": embed,
        "store": store,
        "store.index": index,
        "store.similarity": similarity,
        "store.gpu": gpu,
        "encoder.model": encoder,
        "encoder.question_model": question_encoder,
        "encoder.backend": backend,
        "encoder.precision": precision,
        "encoder.device": device,
        "encoder.max_seq_length": max_seq_length,
        "encoder.batch_tokens": batch_tokens,
        "encoder.threads": threads,
    }
    for field, name in (_pairs("--column", column) or {}).items():
        flags[f"indexing.columns.{field}"] = name
    settings = _settings(config, flags, set_)

    from indexing.job import run_job

    report = run_job(settings, rebuild=rebuild)
    if as_json:
        print_json(report.to_dict())
    else:
        _print_report(report)


@app.command()
def rollback(
    config: ConfigOption = None,
    set_: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Let the version before the last rebuild be read again (Elasticsearch)."""
    settings = _settings(config, {}, set_)

    from dataclasses import asdict

    from indexing.rebuild import roll_back

    done = roll_back(settings.store)
    if as_json:
        print_json(asdict(done))
    else:
        typer.echo(f"{done.store}: {done.index} is read now; {done.former} is kept")


@app.command()
def status(
    store: StoreOption = None,
    config: ConfigOption = None,
    set_: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Tell what a store holds, and how its jobs went.

    What a job that was killed has written to a server is found from now on.
    """
    settings = _settings(config, {"store": store}, set_)

    from dataclasses import asdict

    from indexing.checkpoint import read_checkpoints
    from indexing.state import state_folder
    from qa_system.stores import open_store

    jobs = read_checkpoints(state_folder(settings))
    with open_store(settings.store) as opened:
        if not any(job["running"] for job in jobs.values()) and opened.settle():
            typer.echo("a job was killed: what it has written is found from now on", err=True)
        found = asdict(opened.status())
    found["path"] = str(found["path"])
    if as_json:
        print_json({**found, "jobs": jobs})
        return
    for key, value in found.items():
        shown = value["name"] if isinstance(value, dict) else value
        typer.echo(f"{key.replace('_', ' '):20} {_shown(shown)}")
    for job, counts in jobs.items():
        how = "finished" if counts["finished"] else "not finished: run it again to go on"
        how = "running" if counts["running"] else how
        typer.echo(f"job {job}: {how}; {counts['read']:,} rows read")


@app.command()
def verify(
    store: StoreOption = None,
    config: ConfigOption = None,
    set_: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Compare every derived index of a store with its documents; exit code 1 if one is wrong."""
    settings = _settings(config, {"store": store}, set_)

    from qa_system.stores import open_store

    with open_store(settings.store) as opened:
        documents = opened.count_documents()
        faults = opened.verify()
    if as_json:
        print_json({"store": settings.store.place, "documents": documents, "faults": faults})
    else:
        for fault in faults:
            typer.echo(fault)
        verdict = "sound" if not faults else f"{len(faults)} faults"
        typer.echo(f"{settings.store.place}: {documents:,} documents, {verdict}")
    if faults:
        raise typer.Exit(1)


@app.command()
def embed(
    store: StoreOption = None,
    encoder: EncoderOption = None,
    question_encoder: QuestionEncoderOption = None,
    backend: BackendOption = None,
    precision: PrecisionOption = None,
    device: DeviceOption = None,
    max_seq_length: MaxSeqLengthOption = None,
    batch_tokens: BatchTokensOption = None,
    threads: ThreadsOption = None,
    config: ConfigOption = None,
    set_: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Embed a store anew with another encoder; until it is done the old one answers."""
    flags = {
        "store": store,
        "encoder.model": encoder,
        "encoder.question_model": question_encoder,
        "encoder.backend": backend,
        "encoder.precision": precision,
        "encoder.device": device,
        "encoder.max_seq_length": max_seq_length,
        "encoder.batch_tokens": batch_tokens,
        "encoder.threads": threads,
    }
    settings = _settings(config, flags, set_)

    from dataclasses import asdict
    from time import monotonic

    from qa_system.progress import progress
    from qa_system.retrievers.encoders import load_encoder
    from qa_system.stores import open_store

    start = monotonic()
    with open_store(settings.store) as opened:
        loaded = load_encoder(settings.encoder)
        documents = opened.count_documents()
        with progress("embedding", unit="documents", total=documents) as shown:
            embedded = opened.update_embeddings(loaded, on_progress=shown.advance)
    seconds = round(monotonic() - start, 3)
    if as_json:
        print_json(
            {
                "store": settings.store.place,
                "embedded": embedded,
                "seconds": seconds,
                "encoder": asdict(loaded.identity),
            }
        )
    else:
        typer.echo(
            f"{settings.store.place}: {embedded:,} documents embedded by "
            f"{loaded.identity.name} in {seconds:,.1f} s"
        )


def main() -> None:
    """Run `qa-index`."""
    run_app(app)


def _settings(
    config: Path | None, flags: Mapping[str, Any], set_: Sequence[str] | None
) -> Settings:
    import orjson

    from qa_system.config import load_settings

    # JSON is YAML: so a flag's value, whatever it holds, stays what it is.
    given = [
        f"{key}={orjson.dumps(value).decode()}" for key, value in flags.items() if value is not None
    ]
    return load_settings(config, [*given, *(set_ or ())])


def _pairs(flag: str, items: Sequence[str] | None) -> dict[str, str] | None:
    if not items:
        return None
    pairs = {}
    for item in items:
        # A column's name may hold the sign, a field's and a type's do not.
        name, equals, value = item.partition("=") if flag == "--column" else item.rpartition("=")
        if not (equals and name and value):
            raise typer.BadParameter(f"{item!r} is not NAME=VALUE", param_hint=flag)
        pairs[name] = value
    return pairs


def _print_report(report: JobReport) -> None:
    counts = report.counts
    rate = counts.read / report.seconds if report.seconds > 0 else 0.0
    typer.echo(
        f"{counts.read:,} rows read: {counts.written:,} written, {counts.updated:,} updated, "
        f"{counts.unchanged:,} unchanged, {counts.duplicates:,} duplicates, "
        f"{counts.rejected:,} rejected; {counts.deleted:,} deleted. "
        f"{report.seconds:,.1f} s, {rate:,.0f} rows/s"
    )
    if report.resumed:
        typer.echo(f"{report.resumed:,} of them by an earlier run that was not finished")
    if counts.truncated:
        typer.echo(
            f"{counts.truncated:,} of {counts.passages:,} passages are longer than the encoder "
            "reads; --max-words splits them"
        )
    if report.rejects_file is not None:
        reasons = ", ".join(
            f"{count:,} {reason}" for reason, count in sorted(counts.reasons.items())
        )
        typer.echo(f"rejected: {reasons}. See {report.rejects_file}")
    if counts.nulls:
        nulls = ", ".join(f"{count:,} of {name}" for name, count in sorted(counts.nulls.items()))
        typer.echo(f"values left out that do not fit their column's type: {nulls}")
    if report.writing.retried:
        share = report.writing.to_dict()["share_retried"]
        typer.echo(f"{100 * share:.1f} % of the documents were sent more than once")
    version = "" if report.version is None else f", read now from {report.version}"
    typer.echo(f"store: {report.store}{version}")


def _shown(value: Any) -> str:
    if value is None:
        return "none"
    if isinstance(value, tuple):
        return ", ".join(map(str, value)) or "none"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)


if __name__ == "__main__":
    main()
