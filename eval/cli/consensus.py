"""`qa-eval consensus`: what the reviews say together."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from eval.cli.evaluation import check_places, hand_over
from eval.cli.options import READER, OutOption, ResamplesOption, RowsOption
from qa_system.console.options import ENCODER_IDENTITY, JsonOption, takes_settings

if TYPE_CHECKING:
    from qa_system.config import Settings

__all__ = ["consensus"]


@takes_settings(*READER, *ENCODER_IDENTITY)
def consensus(
    settings: Settings,
    dataset: Annotated[
        Path,
        typer.Option(
            "--dataset",
            help="Questions labelled over all reviews of their item (.jsonl): mentions and points, "
            "or AmazonKP's key points.",
        ),
    ],
    reviews: Annotated[
        str | None,
        typer.Option(
            "--reviews",
            help="The data set whose reviews were labelled; key points bring their own. Default: "
            "the bundled sample.",
        ),
    ] = None,
    pairs: Annotated[
        Path | None,
        typer.Option(
            "--pairs",
            help="Pairs of opposite questions about the same items (.jsonl): how often are both "
            "confirmed?",
        ),
    ] = None,
    top_k: Annotated[int, typer.Option("--top-k", min=1, help="Answers shown.")] = 3,
    out: OutOption = None,
    rows: RowsOption = None,
    resamples: ResamplesOption = 10_000,
    as_json: JsonOption = False,
) -> None:
    """Measure what the reviews say together: mentions, points, their counts, verdicts."""
    check_places(out, rows)

    from eval.datasets import load_dataset
    from eval.tasks.consensus import consensus_run, dataset_of_marked
    from qa_system.datasets.mentions import has_own_reviews, read_marked, read_pairs
    from qa_system.models.locate import SAMPLE

    labelled = () if has_own_reviews(dataset) else load_dataset(reviews or SAMPLE, settings).reviews
    questions = read_marked(dataset, labelled)
    opposite = () if pairs is None else read_pairs(pairs)
    run = consensus_run(questions, settings, path=str(dataset), pairs=opposite, top_k=top_k)
    data = dataset_of_marked(questions, str(dataset))
    hand_over(run, data, out, rows, resamples, as_json=as_json)
