"""Parquet as rows, a batch of them at a time."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from qa_system.errors import DataError, MissingDependencyError
from qa_system.sources.csv_format import check_names
from qa_system.sources.rows import BadRow, Position, RawRow

__all__ = ["open_parquet", "parquet_names", "read_parquet"]

BATCH_ROWS: Final = 512
INDEX_PREFIX: Final = "__index_level_"
"""Columns in which pandas keeps row numbers."""


def open_parquet(path: Path) -> Any:
    """Open a Parquet file with pyarrow.

    Raises:
        MissingDependencyError: pyarrow is not installed.
        DataError: the file is not Parquet, or is damaged.
    """
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError as error:
        raise MissingDependencyError(
            "reading Parquet needs pyarrow",
            where=str(path),
            remedy="Install it: pip install 'qa-system[parquet]'.",
        ) from error
    try:
        # Without pre_buffer a row group is read as it is asked for, not held whole.
        return pq.ParquetFile(path, pre_buffer=False)
    except (pa.ArrowException, OSError) as error:
        raise DataError(
            f"the file is not Parquet: {error}", where=str(path), remedy="Write it again."
        ) from error


def parquet_names(path: Path) -> tuple[list[str], int]:
    """Return the names of a file's columns, and the number of its rows.

    Raises:
        ConfigError: two columns have the same name.
        DataError: the file is not Parquet, or is damaged.
    """
    parquet = open_parquet(path)
    try:
        names = parquet.schema_arrow.names
        check_names(names, str(path))
        return [name for name in names if _is_named(name)], parquet.metadata.num_rows
    finally:
        parquet.close()


def read_parquet(path: Path, start: Position) -> Iterator[RawRow]:
    """Read the rows of a Parquet file.

    Args:
        path: the file.
        start: where to begin.

    Raises:
        DataError: the file is damaged so that it cannot be read on.
    """
    import pyarrow as pa

    parquet = open_parquet(path)
    groups = [parquet.metadata.row_group(n).num_rows for n in range(parquet.num_row_groups)]
    first, row = 0, 0
    while first < len(groups) and row + groups[first] <= start.offset:
        row += groups[first]
        first += 1
    try:
        for batch in parquet.iter_batches(BATCH_ROWS, row_groups=range(first, len(groups))):
            skipped = min(max(start.offset - row, 0), batch.num_rows)
            row += skipped
            for values in _rows_of(batch.slice(skipped)):
                row += 1
                yield RawRow(values, row, Position(start.file, row, row))
    except (pa.ArrowException, OSError) as error:
        raise DataError(
            f"the file cannot be read on: {error}",
            where=f"{path}, row {row + 1}",
            remedy="Fetch or write it again.",
        ) from error
    finally:
        parquet.close()


def _is_named(name: str) -> bool:
    return bool(name) and not name.startswith(INDEX_PREFIX)


def _rows_of(batch: Any) -> Iterator[dict[str, Any] | BadRow]:
    import pyarrow as pa

    batch = batch.select([name for name in batch.schema.names if _is_named(name)])
    for number, column in enumerate(batch.schema):
        # What is finer than a microsecond does not fit Python's datetime.
        if pa.types.is_timestamp(column.type) and column.type.unit == "ns":
            micro = pa.timestamp("us", column.type.tz)
            cast = batch.column(number).cast(micro, safe=False)
            batch = batch.set_column(number, column.with_type(micro), cast)
    try:
        yield from batch.to_pylist()
    except (UnicodeDecodeError, ValueError, OverflowError):
        # Something in these rows is no Python value: find out in which.
        yield from map(_row_of, (batch.slice(row, 1) for row in range(batch.num_rows)))


def _row_of(batch: Any) -> dict[str, Any] | BadRow:
    try:
        row: dict[str, Any] = batch.to_pylist()[0]
    except UnicodeDecodeError as error:
        return BadRow("bad encoding", f"not UTF-8: {error.reason}")
    except (ValueError, OverflowError) as error:
        return BadRow("wrong type", str(error))
    return row
