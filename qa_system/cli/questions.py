"""`qa questions`: labelled questions made for reviews that nobody has labelled."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from qa_system.console.app import print_json
from qa_system.console.options import STORE, JsonOption, takes_settings
from qa_system.console.wording import counted

if TYPE_CHECKING:
    from qa_system.config import Settings
    from qa_system.training.questions.corpus import Corpus
    from qa_system.training.questions.generate import Generated, Makers

__all__ = ["questions"]

SourceArgument = Annotated[
    str,
    typer.Argument(
        metavar="SOURCE",
        help="Reviews: CSV, JSON Lines or Parquet, a folder, a SubjQA data set, store:FOLDER, or "
        "store: for the store of the settings.",
    ),
]
OutOption = Annotated[
    Path, typer.Option("--out", metavar="FILE.jsonl", help="Write the labels to this file.")
]
ByOption = Annotated[
    Literal["rules", "model", "chat"],
    typer.Option(
        "--by",
        help="rules: forms of questions about aspects. model: generator.model, trained to ask. "
        "chat: the chat model of the settings.",
    ),
]
AskedOption = Annotated[
    Path | None,
    typer.Option(
        "--asked",
        metavar="FILE",
        help="Questions of your shoppers, one a line: --by rules asks in their forms, too. "
        "Default: those of the store's labels.",
    ),
]
OverlapOption = Annotated[
    float,
    typer.Option(
        min=0,
        max=1,
        help="Keep a question if the reader's answer overlaps so much with the answer (F1).",
    ),
]
PerItemOption = Annotated[
    int, typer.Option(min=1, help="Ask about so many clauses of an item's reviews at most.")
]
UnanswerableOption = Annotated[
    float,
    typer.Option(min=0, help="Questions without an answer, for each one with an answer."),
]
RestartOption = Annotated[
    bool, typer.Option("--restart", help="Begin anew, over the labels of an earlier run.")
]


@takes_settings(STORE)
def questions(
    settings: Settings,
    source: SourceArgument,
    out: OutOption,
    by: ByOption = "rules",
    asked: AskedOption = None,
    overlap: OverlapOption = 0.5,
    per_item: PerItemOption = 100,
    unanswerable: UnanswerableOption = 0.5,
    restart: RestartOption = False,
    as_json: JsonOption = False,
) -> None:
    """Make labelled questions for reviews without labels: qa questions reviews.csv --out FILE.

    The reader reads each question again, and only those whose answer it finds
    are kept; the others are counted by reason. A run that was stopped or killed
    goes on where it was when the same command is run again.
    """
    from qa_system.training.questions.corpus import opened
    from qa_system.training.questions.generate import Limits, generate_questions

    limits = Limits(overlap, per_item, unanswerable, settings.seed)
    with opened(source, settings) as corpus:
        makers = _makers(settings, by, corpus, asked)
        found = generate_questions(corpus, makers, out, limits, restart=restart)
    if as_json:
        print_json(found.to_dict())
    else:
        _print(found)


def _makers(settings: Settings, by: str, corpus: Corpus, asked: Path | None) -> Makers:
    from qa_system.pipelines import build_generator, build_reader
    from qa_system.training.questions.generate import Makers
    from qa_system.training.questions.writers import Writer, writer_of

    if by != "rules" and asked is not None:
        raise typer.BadParameter("--asked FILE goes with --by rules")
    writer: Writer
    if by == "rules":
        from qa_system.training.questions.wordings import read_asked, wordings_of
        from qa_system.training.questions.writers import RulesWriter

        known = corpus.questions() if asked is None else read_asked(asked)
        writer = RulesWriter(wordings_of(known), settings.seed)
    else:
        writer = writer_of(by, build_generator(settings))
    from qa_system.retrievers.encoders import shared_encoder

    encoder = shared_encoder(settings.encoder)
    return Makers(
        writer,
        build_reader(settings),
        lambda phrases: encoder.encode_passages(phrases, [None] * len(phrases)),
        settings.encoder.model,
    )


def _print(found: Generated) -> None:
    counts = Counter(found.counts)
    typer.echo(
        f"{counted(found.labels, 'label')} of {counted(found.items, 'item')}: "
        f"{counts['kept']:,} with an answer, {counts['unanswerable']:,} without"
    )
    if found.resumed:
        typer.echo(f"{counted(found.resumed, 'item')} of them by an earlier run")
    typer.echo(f"{counted(counts['asked'], 'clause')} asked about, of {counts['clauses']:,}")
    for reason, said in _SAID.items():
        if counts[reason]:
            typer.echo(f"  {counts[reason]:,} left out: {said}")
    typer.echo(f"labels: {found.out}")
    typer.echo(f"record: {found.record}")


_SAID = {
    "rejected": "rows that are no reviews",
    "no_question": "no question was written",
    "duplicate": "the same question about the same review",
    "too_long": "the question leaves no room for the review",
    "not_answered": "the reader finds no answer",
    "elsewhere": "the reader's answer is another one",
}
