"""The folder of a report: the run's files and its page."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from eval.report.page import run_page
from eval.report.plots import require_matplotlib
from eval.runs.run import Run
from eval.runs.storage import (
    REPORT,
    ROWS,
    check_rows_file,
    is_report,
    make_folder,
    run_files,
    write_files,
)
from qa_system.errors import DataError

__all__ = ["PAGE", "check_places", "save_run"]

PAGE = "report.html"


def check_places(
    folder: Path | None = None, rows: Path | None = None, page: Path | None = None
) -> None:
    """Refuse, before anything is evaluated, places that could not be written to.

    Args:
        folder: of `save_run`; it is made if it is not there.
        rows: of `write_rows`.
        page: of `write_files`.

    Raises:
        DataError: a folder cannot be made, or holds files that no evaluation wrote; the rows'
            file has another suffix than .jsonl or .parquet, or the page's another than .html.
        MissingDependencyError: what draws the page or writes Parquet is not installed.
    """
    if folder is not None or page is not None:
        require_matplotlib()
    if folder is not None:
        make_folder(folder)
        _check_free(folder)
    if page is not None:
        if page.suffix not in {".html", ".htm"}:
            raise DataError(
                "a page is an HTML file", where=str(page), remedy="Name a file that ends in .html."
            )
        make_folder(page.parent)
    if rows is not None:
        check_rows_file(rows)


def _check_free(folder: Path) -> None:
    """Refuse a folder in which a report would replace files that no evaluation wrote."""
    there = [name for name in (REPORT, ROWS, PAGE) if (folder / name).exists()]
    if there and not is_report(folder / REPORT):
        raise DataError(
            f"the folder holds {', '.join(there)}, which no evaluation has written",
            where=str(folder),
            remedy="Name another folder.",
        )


def save_run(
    run: Run,
    summary: Mapping[str, Any],
    folder: str | Path,
    texts: Mapping[str, str] | None = None,
) -> None:
    """Write a run's folder: report.json, rows.jsonl (hardest questions first) and report.html.

    A writer that is killed leaves each file as it was, or whole; `load_run` refuses a report
    beside the rows of another run.

    Args:
        run: what was measured.
        summary: `eval.runs.summary.summarise` of it.
        folder: is made if it is not there; other files in it are left alone.
        texts: review id -> text, for the page to show; None: it shows only ids.

    Raises:
        DataError: the folder cannot be written.
        MissingDependencyError: matplotlib or jinja2 is not installed.
    """
    folder = Path(folder)
    page = run_page(run, summary, texts).encode()
    make_folder(folder)
    write_files({folder / PAGE: page, **run_files(run, summary, folder)})
