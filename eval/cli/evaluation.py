"""What the evaluating commands share: settings and data in, a table and a report out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from qa_system.console.app import print_json

if TYPE_CHECKING:
    from eval.runs.run import Run
    from qa_system.config import Settings
    from qa_system.datasets.dataset import Dataset

__all__ = ["check_places", "hand_over", "is_own", "load"]


def load(
    path: str | None, split: str | None, settings: Settings, only: str | None = None
) -> tuple[Dataset, str | None]:
    """Load a data set and choose what of it is asked.

    Args:
        path: None: the sample.
        split: None: test if there is one, else all.
        settings: they say which store `store:` is.
        only: the slice of the split that is asked; None: all of it.
    """
    from eval.datasets import load_dataset
    from qa_system.models.locate import SAMPLE

    data = load_dataset(SAMPLE if path is None else path, settings)
    if split is None and "test" in data.splits:
        split = "test"
    if only is not None:
        from eval.runs.slices import in_slice

        data = in_slice(data, split, only)
    return data, split


def is_own(store: str | None, settings: Settings) -> bool:
    """Tell whether the user's store is searched: one that was named, or one on a server."""
    return store is not None or settings.store.is_server


def check_places(out: Path | None, rows: Path | None) -> None:
    """Refuse places for the report that cannot be written, before hours of work."""
    if out is not None or rows is not None:
        from eval.report.folder import check_places

        check_places(out, rows)


def hand_over(
    run: Run,
    data: Dataset,
    out: Path | None,
    rows: Path | None,
    resamples: int,
    *,
    as_json: bool,
) -> None:
    """Summarise a run; write its rows and its report, and print its table or JSON."""
    from eval.report.folder import PAGE, save_run
    from eval.report.summary import print_summary
    from eval.runs.storage import write_rows
    from eval.runs.summary import summarise

    summary = summarise(run, resamples=resamples)
    if rows is not None:
        write_rows(rows, run)
    if out is not None:
        save_run(run, summary, out, {review.id: review.text for review in data.reviews})
    if as_json:
        print_json(summary)
        return
    print_summary(summary)
    if out is not None:
        typer.echo(f"report: {out / PAGE}")
