"""The table that people open: a row for each item and attribute, as CSV.

A spreadsheet takes a cell that begins with =, +, - or @ for a formula, and reviews are written by
anybody: such a cell begins with an apostrophe here (OWASP, CSV Injection).
"""

from __future__ import annotations

import csv
import os
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import orjson

from qa_system.errors import ConfigError

__all__ = ["COLUMNS", "check_out", "journal_of", "safe", "write_table"]

COLUMNS: Final = (
    "item_id",
    "attribute",
    "value",
    "unit",
    "status",
    "support",
    "speaking",
    "share",
    "confidence",
    "quotes",
    "reviews",
    "error",
)
FORMULAS: Final = ("=", "+", "-", "@", "\t", "\r", "\n")
MOST_QUOTES: Final = 3


def check_out(path: Path) -> None:
    """Refuse a file whose name does not say its format.

    Raises:
        ConfigError: naming the formats.
    """
    if path.suffix not in (".csv", ".jsonl"):
        raise ConfigError(
            "the format of the attributes is not clear",
            where=str(path),
            remedy="Name it .csv, or .jsonl (JSON Lines).",
        )


def journal_of(out: Path) -> Path:
    """Return the file that is written while the job goes on.

    >>> journal_of(Path("attributes.csv")).name, journal_of(Path("attributes.jsonl")).name
    ('attributes.csv.jsonl', 'attributes.jsonl')
    """
    return out.with_name(f"{out.name}.jsonl") if out.suffix == ".csv" else out


def write_table(journal: Path, out: Path) -> Counter[str]:
    """Write the CSV of a finished job in one step, unless its JSON Lines are what was asked for.

    Args:
        journal: the job's rows.
        out: the table, replaced; or the journal itself.

    Returns:
        How many rows have which status.

    Raises:
        ConfigError: the table cannot be written.
    """
    if journal == out:
        return Counter(row.get("status", "error") for row in _rows(journal))
    counts: Counter[str] = Counter()
    temporary = out.with_name(f".{out.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(COLUMNS)
            for row in _rows(journal):
                counts[row.get("status", "error")] += 1
                writer.writerow(list(map(safe, _cells(row))))
        temporary.replace(out)
    except OSError as error:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise ConfigError(
            f"the attributes cannot be written: {error.strerror}",
            where=str(out),
            remedy="Mend that, and run the same command again.",
        ) from error
    return counts


def safe(cell: object) -> object:
    """Return a cell that no spreadsheet takes for a formula; a number stays a number.

    >>> safe("=1+1"), safe("- loud"), safe(-4.5), safe("loud")
    ("'=1+1", "'- loud", -4.5, 'loud')
    """
    if not isinstance(cell, str):
        return cell
    # Some spreadsheets skip white space before a formula.
    return f"'{cell}" if cell.startswith(FORMULAS) or cell.lstrip().startswith(FORMULAS) else cell


def _rows(journal: Path) -> Iterator[dict[str, Any]]:
    with journal.open("rb") as lines:
        yield from map(orjson.loads, lines)


def _cells(row: Mapping[str, Any]) -> Iterator[object]:
    quotes = row.get("quotes", [])
    shown = {
        **row,
        "quotes": " | ".join(" ".join(each["text"].split()) for each in quotes[:MOST_QUOTES]),
        "reviews": " ".join(each["review_id"] for each in quotes),
        "error": (row.get("error") or {}).get("message"),
    }
    for name in COLUMNS:
        value = shown.get(name)
        yield f"{value:.3f}" if name in ("share", "confidence") and value is not None else value
