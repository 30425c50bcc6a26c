"""A run on disk: report.json and the rows that it was computed from, written and read back.

The report has the digest of its rows, so that a report beside the rows of another run is noticed.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

import orjson
from pydantic import TypeAdapter, ValidationError

from eval.runs.run import Row, Run, System, hardest_first
from qa_system.errors import DataError, MissingDependencyError

__all__ = [
    "REPORT",
    "ROWS",
    "check_rows_file",
    "is_report",
    "load_run",
    "make_folder",
    "run_files",
    "write_files",
    "write_rows",
]

REPORT = "report.json"
ROWS = "rows.jsonl"

RUN_FOLDER = "Name the folder of a run: qa-eval reader --out FOLDER writes one."
AGAIN = "Evaluate again, for example: qa-eval reader --out FOLDER."


def run_files(run: Run, summary: Mapping[str, Any], folder: Path) -> dict[Path, bytes]:
    """Return the files of a run, path -> content, the report last.

    Args:
        run: its rows are written, the hardest questions first.
        summary: `eval.runs.summary.summarise` of it.
        folder: where the files are to be.
    """
    rows = b"".join(_lines(run))
    about_rows = {
        "count": sum(len(system.rows) for system in run.systems.values()),
        "sha256": hashlib.sha256(rows).hexdigest(),
    }
    report = orjson.dumps(
        {**summary, "rows": about_rows}, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE
    )
    return {folder / ROWS: rows, folder / REPORT: report}


def load_run(folder: str | Path) -> tuple[Run, dict[str, Any]]:
    """Read what `save_run` wrote: the run with its systems, and the summary.

    The rows are in the order of the file, hardest first. Baselines have no rows there; their
    numbers are in the summary.

    Raises:
        DataError: the folder or one of its files is missing, damaged, or of another run.
        EvaluationError: a question occurs twice, or rows differ in their metrics.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise DataError("there is no run", where=str(folder), remedy=RUN_FOLDER)
    report = _read_report(folder / REPORT)
    summary = {name: value for name, value in report.items() if name != "rows"}
    rows = _read_rows(folder / ROWS, report)
    systems = {
        name: System(
            rows=tuple(rows[name]),
            measures=about["measures"],
            counts=about["counts"],
            details=about["details"],
        )
        for name, about in report["systems"].items()
    }
    run = Run(
        kind=report["kind"],
        primary=report["primary"],
        headline=tuple(report["headline"]),
        systems=systems,
        made_with=report["made_with"],
    )
    return run, summary


def write_rows(path: Path, run: Run) -> None:
    """Write every system's rows, the hardest questions first, in the format of the suffix.

    A Parquet file has a column for each field: `score.em`, `slice.domain`, `output.prediction`.
    Lists stay lists; values nested deeper are JSON text.

    Args:
        path: ends in .jsonl or .parquet.
        run: what was measured.

    Raises:
        DataError: the suffix is another, or the file cannot be written.
        MissingDependencyError: it is .parquet, and pyarrow is not installed.
    """
    content = b"".join(_lines(run)) if _suffix(path) == ".jsonl" else _parquet(run)
    write_files({path: content})


def check_rows_file(path: Path) -> None:
    """Refuse a file that `write_rows` could not write, and make its folder.

    Raises:
        DataError: its suffix is none of .jsonl and .parquet, or the folder cannot be made.
        MissingDependencyError: it is .parquet, and pyarrow is not installed.
    """
    if _suffix(path) == ".parquet":
        _pyarrow()
    make_folder(path.parent)


def _suffix(path: Path) -> str:
    if path.suffix not in {".jsonl", ".parquet"}:
        raise DataError(
            f"rows cannot be written as {path.suffix or 'a file without suffix'}",
            where=str(path),
            remedy="Name a file that ends in .jsonl or .parquet.",
        )
    return path.suffix


def _records(run: Run) -> Iterable[dict[str, Any]]:
    return ({"system": name, **asdict(row)} for name, row in hardest_first(run))


def _lines(run: Run) -> Iterable[bytes]:
    options = orjson.OPT_APPEND_NEWLINE | orjson.OPT_SERIALIZE_NUMPY
    return (orjson.dumps(record, option=options) for record in _records(run))


def make_folder(folder: Path) -> None:
    """Make a folder, if it is not there.

    Raises:
        DataError: it cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(
            f"the folder cannot be made: {error.strerror}",
            where=str(folder),
            remedy="Name another place.",
        ) from error


def write_files(files: Mapping[Path, bytes]) -> None:
    """Write files under temporary names, then rename them, in order.

    A writer that is killed leaves each file as it was, or whole.

    Raises:
        DataError: a file cannot be written.
    """
    beside = {path: path.with_name(f".{path.name}.{os.getpid()}.tmp") for path in files}
    try:
        for path, content in files.items():
            beside[path].write_bytes(content)
        for path, temporary in beside.items():
            temporary.replace(path)
    except OSError as error:
        raise DataError(
            f"the file cannot be written: {error.strerror}",
            where=str(error.filename or next(iter(files))),
            remedy="Name another place, or make room there.",
        ) from error
    finally:
        for temporary in beside.values():
            temporary.unlink(missing_ok=True)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise DataError(
            f"{path.name} is missing or cannot be read: {error.strerror}",
            where=str(path),
            remedy=f"{RUN_FOLDER} {AGAIN}",
        ) from error


def is_report(path: Path) -> bool:
    """Tell whether a file is a run's report, be it of an earlier version."""
    try:
        report = orjson.loads(path.read_bytes())
    except (OSError, orjson.JSONDecodeError):
        return False
    return isinstance(report, dict) and {"kind", "systems", "made_with"} <= report.keys()


def _read_report(path: Path) -> dict[str, Any]:
    try:
        report = orjson.loads(_read(path))
        wanted = {"kind", "primary", "headline", "systems", "made_with", "rows"}
        if not isinstance(report, dict) or not wanted <= report.keys():
            raise ValueError("it is no report of a run")
        for about in report["systems"].values():
            if not {"metrics", "measures", "counts", "details"} <= about.keys():
                raise ValueError("a system lacks its numbers")
        int(report["rows"]["count"]), str(report["rows"]["sha256"])
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise DataError(
            f"{path.name} is damaged: {error}", where=str(path), remedy=AGAIN
        ) from error
    return report


def _read_rows(path: Path, report: Mapping[str, Any]) -> dict[str, list[Row]]:
    content = _read(path)
    rows: dict[str, list[Row]] = {name: [] for name in report["systems"]}
    for number, line in enumerate(content.splitlines(), start=1):
        where = f"{path}, line {number}"
        try:
            row = _row_adapter().validate_json(line, strict=True)
            system = str(orjson.loads(line)["system"])
        except (ValidationError, ValueError, KeyError) as error:
            raise DataError("a row is damaged", where=where, remedy=AGAIN) from error
        if system not in rows:
            raise DataError(
                f"a row is of {system!r}, which the report does not know", where=where, remedy=AGAIN
            )
        if row.scores.keys() != report["systems"][system]["metrics"].keys():
            raise DataError("a row has other metrics than the report", where=where, remedy=AGAIN)
        rows[system].append(row)
    counted, found = report["rows"]["count"], sum(map(len, rows.values()))
    if counted != found:
        raise DataError(
            f"there are {found} rows, and the report counts {counted}",
            where=str(path),
            remedy=AGAIN,
        )
    if hashlib.sha256(content).hexdigest() != report["rows"]["sha256"]:
        raise DataError(
            f"the rows are not those that {REPORT} was made from: they were changed, or their "
            "writer was stopped half way",
            where=str(path),
            remedy=AGAIN,
        )
    return rows


@cache
def _row_adapter() -> TypeAdapter[Row]:
    return TypeAdapter(Row)


def _pyarrow() -> Any:
    try:
        import_module("pyarrow.parquet")
        return import_module("pyarrow")
    except ImportError as error:
        raise MissingDependencyError(
            "writing Parquet needs pyarrow",
            remedy="Install it: pip install 'qa-system[parquet]', or name a .jsonl file.",
        ) from error


def _parquet(run: Run) -> bytes:
    arrow = _pyarrow()
    records = [_flat(record) for record in _records(run)]
    names = dict.fromkeys(name for record in records for name in record)
    columns = {
        name: _column(arrow, name, [record.get(name) for record in records]) for name in names
    }
    sink = arrow.BufferOutputStream()
    arrow.parquet.write_table(arrow.table(columns), sink)
    return bytes(sink.getvalue())


def _flat(record: Mapping[str, Any]) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in record.items():
        if name in {"scores", "slices", "output"}:
            stem = "output" if name == "output" else name[:-1]
            flat |= {f"{stem}.{key}": each for key, each in value.items()}
        else:
            flat[name] = value
    return flat


def _column(arrow: Any, name: str, values: list[Any]) -> Any:
    if name == "references":
        return arrow.array(values, type=arrow.list_(arrow.string()))
    if name.startswith("score."):
        return arrow.array(values, type=arrow.float64())
    if name.startswith("slice.") or not name.startswith("output."):
        return arrow.array(values, type=arrow.string())
    if not any(_is_nested(value) for value in values):
        try:
            return arrow.array(values)
        except (arrow.ArrowInvalid, arrow.ArrowTypeError):
            pass  # Values of several kinds have no type in common but text.
    texts = [None if value is None else orjson.dumps(value).decode() for value in values]
    return arrow.array(texts, type=arrow.string())


def _is_nested(value: Any) -> bool:
    if isinstance(value, list | tuple):
        return any(isinstance(each, list | tuple | dict) for each in value)
    return isinstance(value, dict)
