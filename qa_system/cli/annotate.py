"""`qa annotate`: people mark answers in reviews."""

from __future__ import annotations

import secrets
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from qa_system.cli.serve import LOOPBACK, require_server
from qa_system.console.app import note, print_json
from qa_system.console.options import ENCODER_IDENTITY, STORE, JsonOption, takes_settings
from qa_system.console.wording import counted, printable
from qa_system.errors import DataError, QASystemError, RecordError

if TYPE_CHECKING:
    from qa_system.annotation.agreement import Agreement
    from qa_system.annotation.orders import OrderName
    from qa_system.annotation.tasks import Task
    from qa_system.config import Settings
    from qa_system.records import Question
    from qa_system.stores.contract import ReviewStore

__all__ = ["annotate"]


QuestionsOption = Annotated[
    str | None,
    typer.Option(
        "--questions",
        "-q",
        metavar="FILE",
        help="Annotate these: CSV, JSON or Parquet with the columns question and item_id, the "
        "file of qa serve --feedback, or a data set.",
    ),
]
ItemOption = Annotated[
    str | None, typer.Option("--item", "-i", help="All rows of --questions are about this item.")
]
EncodingOption = Annotated[
    str | None,
    typer.Option(
        "--encoding",
        help="Read the questions in this encoding, for example cp1252.",
        show_default="detected",
    ),
]
AnnotatorOption = Annotated[
    list[str] | None,
    typer.Option(
        "--annotator",
        help="Who marks. Repeatable: each has an address of their own.",
        show_default="annotator",
    ),
]
ReviewsOption = Annotated[
    int, typer.Option("--reviews", min=1, help="Annotate at most this many for a question.")
]
OrderOption = Annotated[
    Literal["uncertain", "diverse", "mixed", "random"],
    typer.Option(
        "--order",
        help="Show first: what the reader is least sure of, what is least like the tasks before, "
        "both, or any.",
    ),
]
HostOption = Annotated[str, typer.Option("--host", help="Listen on this address.")]
PortOption = Annotated[
    int, typer.Option("--port", min=0, max=65535, help="Listen on this port; 0: on a free one.")
]
OutOption = Annotated[
    Path | None,
    typer.Option("--out", help="Write all labels to this file at the end, as --export does."),
]
ExportOption = Annotated[
    Path | None,
    typer.Option("--export", metavar="FILE", help="Only write all labels: SQuAD .json, or .jsonl."),
]
AgreementOption = Annotated[
    bool, typer.Option("--agreement", help="Only tell how far the annotators agree.")
]


@takes_settings(STORE, *ENCODER_IDENTITY)
def annotate(
    settings: Settings,
    questions: QuestionsOption = None,
    item: ItemOption = None,
    encoding: EncodingOption = None,
    annotator: AnnotatorOption = None,
    reviews: ReviewsOption = 10,
    order: OrderOption = "uncertain",
    host: HostOption = "127.0.0.1",
    port: PortOption = 0,
    out: OutOption = None,
    export: ExportOption = None,
    agreement: AgreementOption = False,
    as_json: JsonOption = False,
) -> None:
    """Mark answers in reviews, on a page of this machine, until Ctrl-C.

    Every label is in the store at once; the same command goes on where it was stopped.
    """
    if (questions is not None) + (export is not None) + agreement != 1:
        raise typer.BadParameter("name one of --questions FILE, --export FILE and --agreement")
    if questions is None:
        if item is not None or encoding is not None:
            raise typer.BadParameter("--item and --encoding go with --questions FILE")
        _look(settings, export, as_json)
        return
    require_server()
    from qa_system.annotation.annotations import Annotations
    from qa_system.annotation.annotators import annotators, at_work
    from qa_system.annotation.api import application
    from qa_system.annotation.export import check_suffix
    from qa_system.annotation.questions import read_questions
    from qa_system.annotation.server import serve
    from qa_system.serving.supervisor import address_of, listen
    from qa_system.stores import open_store

    if out is not None:
        check_suffix(out)
    if host not in LOOPBACK:
        note(f"whoever reads an address that is printed can mark and read reviews at {host}")
    names = annotators(annotator or ["annotator"])
    listening = listen(host, port)
    read = read_questions(questions, item, encoding)
    tokens = {secrets.token_urlsafe(24): name for name in names}
    with open_store(settings.store) as store, at_work(names, settings.store):
        tasks = _tasks(settings, read, questions, reviews, order)
        for token, name in tokens.items():
            sys.stdout.write(f"{printable(name)}: {address_of(listening)}/#token={token}\n")
        sys.stdout.flush()
        serve(application(Annotations(store, tasks), tokens, host), listening)
        if out is not None:
            _export(store, out)


def _tasks(
    settings: Settings,
    read: tuple[list[Question], list[RecordError]],
    path: str,
    reviews: int,
    order: OrderName,
) -> list[Task]:
    from qa_system.annotation.orders import embed_tasks, ordered
    from qa_system.annotation.tasks import tasks_of
    from qa_system.console.progress import progress
    from qa_system.retrievers.encoders import shared_encoder
    from qa_system.system import QASystem

    asked, bad = read
    if bad:
        note(f"{counted(len(bad), 'row')} set aside, the first because: {bad[0]}")
    tasks: list[Task] = []
    refused: list[QASystemError] = []
    with (
        QASystem.open(settings) as system,
        progress("reading reviews", unit="questions", total=len(asked)) as shown,
    ):
        for found in tasks_of(system, asked, reviews):
            shown.advance()
            if isinstance(found, QASystemError):
                refused.append(found)
            else:
                tasks += found
    if refused:
        note(
            f"{counted(len(refused), 'question')} cannot be asked, the first because: {refused[0]}"
        )
    if not tasks:
        raise DataError(
            "no review was found for any of the questions",
            where=path,
            remedy="Name questions about items of the store: `qa-index items` lists them.",
        )
    note(f"{counted(len(tasks), 'task')} of {counted(len(asked) - len(refused), 'question')}")
    return ordered(tasks, order, lambda these: embed_tasks(these, shared_encoder(settings.encoder)))


def _look(settings: Settings, path: Path | None, as_json: bool) -> None:
    from qa_system.annotation.agreement import agreements
    from qa_system.annotation.marks import marks_of
    from qa_system.stores import open_store

    with open_store(settings.store) as store:
        if path is not None:
            _export(store, path)
            return
        pairs = agreements(marks_of(store.get_labels_aggregated(by_item=False)))
    if as_json:
        print_json({"pairs": [pair.to_dict() for pair in pairs]})
        return
    if not pairs:
        typer.echo("Fewer than two annotators have marked reviews of this store.")
    for pair in pairs:
        _print(pair)


def _export(store: ReviewStore, path: Path) -> None:
    from qa_system.annotation.export import export

    written, changed = export(store, path)
    note(f"{path}: {counted(written, 'label')}")
    if changed:
        note(
            f"{counted(changed, 'label')} left out: their reviews have changed or were "
            "deleted since"
        )


def _print(pair: Agreement) -> None:
    typer.echo(printable(f"{pair.one} and {pair.other}: {counted(pair.tasks, 'task')} by both"))
    for name, value, number in (
        ("answer or none, kappa", pair.answerable, pair.tasks),
        ("polarity, kappa", pair.polarity, pair.judged),
        ("marked words, F1", pair.span_f1, pair.answered),
    ):
        shown = "undefined" if value is None else f"{value:.2f}"
        typer.echo(f"  {name:<22} {shown:>9}  ({counted(number, 'task')})")
