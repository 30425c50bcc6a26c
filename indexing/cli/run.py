"""`qa-index run`: reviews into a store."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from qa_system.config.choices import IndexKind, Misfits, Similarity, SourceFormat
from qa_system.console.app import print_json
from qa_system.console.options import (
    ENCODER,
    SENTENCES,
    STORE,
    JsonOption,
    Setting,
    takes_settings,
)
from qa_system.console.wording import counted, printable

if TYPE_CHECKING:
    from indexing.report import JobReport
    from qa_system.config import Settings

__all__ = ["STATE", "run"]


def _pairs(
    flag: str, split: Callable[[str, str], tuple[str, str, str]]
) -> Callable[[Sequence[str]], dict[str, str]]:
    """Return what reads the NAME=VALUE words of an option."""

    def read(items: Sequence[str]) -> dict[str, str]:
        pairs = {}
        for item in items:
            name, equals, value = split(item, "=")
            if not (equals and name and value):
                raise typer.BadParameter(f"{item!r} is not NAME=VALUE", param_hint=flag)
            pairs[name] = value
        return pairs

    return read


SOURCE = (
    Setting(
        "indexing.sources",
        "Index these reviews: a file, a folder, a glob, or - for standard input. SubjQA, CSV, "
        "JSON and Parquet are recognised, plain or compressed. Repeatable.",
        type=list[str],
        short="-s",
        panel="Source",
    ),
    Setting(
        "indexing.format", "Read the sources in this format.", type=SourceFormat, panel="Source"
    ),
    Setting(
        "indexing.columns",
        "Read a field from this column, for example text=body. The fields are review_id, item_id, "
        "text, title, stars, date and author. Repeatable.",
        type=list[str],
        metavar="FIELD=COLUMN",
        panel="Source",
        # A column's name may hold the sign, a field's does not.
        read=_pairs("--column", str.partition),
    ),
    Setting(
        "indexing.types",
        "Read a metadata column as text, number, boolean, date or day_first_date, for example "
        "zip=text. Repeatable.",
        type=list[str],
        metavar="COLUMN=TYPE",
        panel="Source",
        read=_pairs("--type", str.rpartition),
    ),
    Setting(
        "indexing.misfits",
        "Leave out a value that does not fit its column's type, or reject its row.",
        type=Misfits,
        panel="Source",
    ),
    Setting(
        "indexing.item",
        "All reviews are about this item, if no column names one.",
        panel="Source",
    ),
    Setting(
        "indexing.encoding",
        "Read CSV and JSON in this encoding, for example cp1252.",
        default="detected",
        panel="Source",
    ),
    Setting(
        "indexing.max_text_chars",
        "Reject reviews with more characters than this.",
        type=int,
        panel="Source",
    ),
    Setting(
        "indexing.passages.max_words",
        "Split longer reviews into passages of this many words.",
        type=int,
        panel="Source",
    ),
    Setting(
        "indexing.passages.overlap_words",
        "Repeat this many words in the next passage.",
        type=int,
        panel="Source",
    ),
)
STATE = Setting(
    "indexing.state",
    "Use this folder for the jobs' checkpoints and rejects.",
    default="STORE/jobs, of a server .qa-index/HOST-PORT-INDEX",
)
JOB = (
    Setting("indexing.batch_size", "Write a checkpoint after this many reviews.", type=int),
    Setting("indexing.rejects", "Write the rejected rows to this file."),
    Setting(
        "indexing.max_rejects",
        "Stop with exit code 1 if more rows than this are rejected.",
        type=int,
    ),
    Setting(
        "indexing.delete_missing",
        "Delete or keep reviews that the sources no longer hold, after a complete run.",
        type=bool,
        default="keep",
        negative="--keep-missing",
    ),
    STATE,
)
INDEX = (
    Setting(
        "store.index",
        "Search the embeddings of a store in a folder with this index.",
        type=IndexKind,
        formerly="--index",
        panel="Store",
    ),
    Setting(
        "store.similarity",
        "Compare embeddings by this similarity.",
        type=Similarity,
        default="the encoder's",
        formerly="--similarity",
        panel="Store",
    ),
    Setting(
        "store.group",
        "Share a new store in a folder with this group of users.",
        default="its owner's alone",
        panel="Store",
    ),
    Setting(
        "store.gpu",
        "Search on a GPU, or not.",
        type=bool,
        formerly="--gpu",
        panel="Store",
    ),
)
EMBED = Setting(
    "indexing.embed",
    "Embed the reviews, or not: without embeddings, only BM25 finds them.",
    type=bool,
    default="embed",
    panel="Encoder",
)


@takes_settings(*SOURCE, *JOB, STORE, *INDEX, EMBED, SENTENCES, *ENCODER, config_argument=True)
def run(
    settings: Settings,
    rebuild: Annotated[
        bool,
        typer.Option(
            "--rebuild",
            help="Index everything into a new version, which is read once it is complete "
            "(Elasticsearch).",
        ),
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Index reviews. A second run of the same command does only what is left to do.

    Unchanged reviews are skipped, changed ones replaced. A run that was stopped
    or killed goes on from its checkpoint when the same command is run again.
    Rows that cannot be used go to a reject file with their line and the reason.
    """
    from indexing.job import run_job

    report = run_job(settings, rebuild=rebuild)
    if as_json:
        print_json(report.to_dict())
    else:
        _print_report(report)


def _print_report(report: JobReport) -> None:
    counts = report.counts
    rate = counts.read / report.seconds if report.seconds > 0 else 0.0
    typer.echo(
        f"{counted(counts.read, 'row')} read: "
        f"{counts.written:,} written, {counts.updated:,} updated, "
        f"{counts.unchanged:,} unchanged, {counted(counts.duplicates, 'duplicate')}, "
        f"{counts.rejected:,} rejected; {counts.deleted:,} deleted. "
        f"{report.seconds:,.1f} s, {rate:,.0f} rows/s"
    )
    if report.resumed:
        typer.echo(f"{report.resumed:,} of them by an earlier run that was not finished")
    if counts.truncated:
        typer.echo(
            f"{counts.truncated:,} texts are longer than the encoder reads; --max-words splits them"
        )
    if counts.nulls:
        nulls = ", ".join(
            f"{count:,} of {printable(name)}" for name, count in sorted(counts.nulls.items())
        )
        typer.echo(f"values left out that do not fit their column's type: {nulls}")
    if report.rejects_file is not None:
        reasons = ", ".join(
            f"{count:,} {reason}" for reason, count in sorted(counts.reasons.items())
        )
        typer.echo(f"rejected: {reasons}. See {report.rejects_file}")
    if report.writing.retried:
        share = report.writing.figures()["share_retried"]
        typer.echo(f"{100 * share:.1f} % of the documents were sent more than once")
    version = "" if report.version is None else f", read now from {report.version}"
    typer.echo(f"store: {report.store}{version}")
