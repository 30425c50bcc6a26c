"""Texts embedded into a file: read, encoded and written chunk by chunk, and continued.

A chunk always has the same texts, whether or not a run was killed: so the model is given the same
batches, and the file has the same bytes.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from time import monotonic
from typing import Any, Final, cast

import numpy as np
import orjson
from numpy.typing import NDArray

from qa_system.arguments import check_choice
from qa_system.console.progress import progress
from qa_system.embeddings.cutting import Cut
from qa_system.embeddings.embedder import Embedder, has_text, load_embedder
from qa_system.embeddings.embedding import digest_of
from qa_system.embeddings.formats import check_format, write_file
from qa_system.embeddings.quantizing import DTYPES, Dtype
from qa_system.embeddings.settings import EmbeddingSettings
from qa_system.embeddings.texts import GivenTexts, Text, Texts
from qa_system.embeddings.working import (
    Chunk,
    Counts,
    Working,
    finish,
    open_working,
    unwritable,
    working_folder,
    write_whole,
)
from qa_system.errors import ConfigError, DataError

__all__ = ["EmbedReport", "embed_to_file"]

CHUNK_TEXTS: Final = 2_048
CHUNK_TEXTS_BY_TOKEN: Final = 128
CHUNK_CHARS: Final = 4_000_000
"""Texts that are encoded and written together; fewer where each token has a vector, or where they
are long."""

FloatArray = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class EmbedReport:
    """What came of texts that were embedded into a file.

    Args:
        out: the file.
        rows: texts in it.
        dimension: numbers in a vector; of `binary`, bits.
        dtype: of the numbers.
        empty: texts that are empty or missing: rows of zeros, or of no tokens.
        duplicates: texts that were not encoded because an equal one was.
        truncated: texts that were longer than the model reads.
        tokens: vectors, where each token has one; None: each text has one.
        resumed: rows that an earlier run had done.
        recall: the share of each vector's ten nearest others that are its nearest in the file, too,
            among up to 1,000 of them; None: nothing was cut or quantised, or there are too few.
        seconds: of this run.
    """

    out: str
    rows: int
    dimension: int
    dtype: Dtype
    empty: int
    duplicates: int
    truncated: int
    tokens: int | None
    resumed: int
    recall: float | None
    seconds: float

    def to_dict(self) -> dict[str, Any]:
        """Return the report as JSON values."""
        return asdict(self)


def embed_to_file(
    texts: Texts | Iterable[str | None],
    out: str | Path,
    settings: EmbeddingSettings | None = None,
    *,
    dtype: Dtype = "float32",
    restart: bool = False,
) -> EmbedReport:
    """Embed texts into a file, row i for text i; memory is bounded by a chunk of texts.

    A text that is None, empty or white space has a row of zeros (of tokens: none). `OUT.json` says
    what the file was made with; it also has scale and offset of int8. Ids are a column of Parquet,
    and else in `OUT.ids.jsonl`. A run that was stopped, by SIGKILL as well, goes on with the same
    texts behind the rows that it had done, and the file has the same bytes.

    Args:
        texts: an iterable, or those of `qa_system.embeddings.texts`.
        out: ends in `.npy`, `.parquet` or `.safetensors`; pooling `none` has no `.npy`.
        settings: of the embeddings; None: the defaults.
        dtype: `float32`, `int8` or `binary`, as in `qa_system.embeddings.quantize`.
        restart: embed all texts again, over what an earlier run has left.

    Raises:
        ConfigError: a setting is wrong; the file is there and is of something else; an earlier run
            was of something else.
        DataError: the texts are not those that an earlier run has read.
        ModelError: as in `embed`.

    >>> import tempfile
    >>> out = Path(tempfile.mkdtemp()) / "vectors.npy"
    >>> embed_to_file(["Bright enough.", "", "Bright enough."], out).duplicates
    1
    >>> np.load(out).shape
    (3, 384)
    """
    out, begun, settings = Path(out), monotonic(), settings or EmbeddingSettings()
    by_token = settings.pooling == "none"
    check_choice("dtype", dtype, DTYPES)
    check_format(out, by_token=by_token)
    source = cast("Texts", texts if hasattr(texts, "described") else GivenTexts(texts))
    # The vectors on their way are whole: what is cut of them is told when all are there.
    embedder = load_embedder(settings.model_copy(update={"dimensions": None}))
    dimensions = settings.dimensions or embedder.dimension
    _check_dimensions(dimensions, embedder)
    run = {
        "model": [settings.model, embedder.fingerprint()],
        "settings": settings.model_dump(exclude={"model"}),
        "texts": dict(source.described),
        "dtype": dtype,
    }
    if (done := _finished(out, run, restart=restart)) is not None:
        _check_same(source, out, done["texts"])
        shutil.rmtree(working_folder(out), ignore_errors=True)  # a run was killed at its very end
        report = done["report"]
        return EmbedReport(**report, resumed=report["rows"], seconds=monotonic() - begun)
    with open_working(out, embedder.dimension, run, restart=restart) as working:
        resumed = working.counts.rows
        _embed(source, embedder, working, by_token=by_token)
        report = _finish(working, out, run, cut=Cut(embedder, dimensions, dtype, by_token=by_token))
    return EmbedReport(**report, resumed=resumed, seconds=monotonic() - begun)


def _check_dimensions(dimensions: int, embedder: Embedder) -> None:
    if dimensions > embedder.dimension:
        raise ConfigError(
            f"the vectors have {embedder.dimension} dimensions, fewer than {dimensions}",
            where="dimensions",
            remedy=f"Set at most {embedder.dimension}.",
        )


def _finished(out: Path, run: Mapping[str, Any], *, restart: bool) -> dict[str, Any] | None:
    """Return what is said of a file that an earlier run has finished; refuse somebody else's."""
    about = _about(out)
    try:
        told = orjson.loads(about.read_bytes())
        earlier, _, _ = told["run"], told["report"], told["texts"]
    except FileNotFoundError:
        if not out.exists():
            return None
        raise _not_ours(out) from None
    except (OSError, ValueError, KeyError, TypeError):
        raise _not_ours(about) from None
    if restart or not out.exists():
        return None
    if earlier != run:
        raise _of_other_texts(out)
    return dict(told)


def _check_same(texts: Texts, out: Path, digest: str) -> None:
    """Refuse a finished file whose texts have changed since."""
    if _digest_of_all(digest_of(_shown(row)) for row in texts) != digest:
        raise _of_other_texts(out)


def _digest_of_all(digests: Iterable[bytes]) -> str:
    whole = sha256()
    for digest in digests:
        whole.update(digest)
    return whole.hexdigest()


def _of_other_texts(out: Path) -> ConfigError:
    return ConfigError(
        "the file is there, and has the vectors of other texts or of another model or setting",
        where=str(out),
        remedy="Embed all texts again: --restart. Or name another file: --out FILE.",
    )


def _not_ours(path: Path) -> ConfigError:
    return ConfigError(
        "the file is there and holds something else than these vectors",
        where=str(path),
        remedy="Name another file: --out FILE.",
    )


def _about(out: Path) -> Path:
    return out.with_name(f"{out.name}.json")


def _embed(texts: Texts, embedder: Embedder, working: Working, *, by_token: bool) -> None:
    """Write the vectors of all texts that no earlier run has done."""
    rows = iter(texts)
    _skip_done(rows, working)
    with progress("embedding", unit="texts") as shown:
        shown.go_on(working.counts.rows)
        for chunk in _chunks(rows, by_token=by_token):
            before = embedder.truncated
            written, counts = _encoded(chunk, embedder, working, by_token=by_token)
            cut = counts.truncated + embedder.truncated - before
            working.write(written, Counts(**{**asdict(counts), "truncated": cut}))
            share = chunk[-1].share
            total = round(working.counts.rows / share) if share else None
            shown.advance(len(chunk), total=total)


def _skip_done(rows: Iterator[Text], working: Working) -> None:
    """Read the texts that an earlier run has done, and make sure that they are the same."""
    for number, digest in enumerate(working.digests(), start=1):
        row = next(rows, None)
        if row is None or digest_of(_shown(row)) != digest:
            raise DataError(
                f"text {number:,} is not the one that an earlier run has embedded",
                where=str(working.folder),
                remedy="Embed all texts again: --restart. Or name another file: --out FILE.",
            )


def _shown(row: Text) -> str:
    """Return what the model is shown of a text."""
    return row.text if row.text is not None and has_text(row.text) else ""


def _chunks(rows: Iterator[Text], *, by_token: bool) -> Iterator[list[Text]]:
    most = CHUNK_TEXTS_BY_TOKEN if by_token else CHUNK_TEXTS
    chunk: list[Text] = []
    size = 0
    for row in rows:
        chunk.append(row)
        size += len(row.text or "")
        if len(chunk) == most or size >= CHUNK_CHARS:
            yield chunk
            chunk, size = [], 0
    if chunk:
        yield chunk


def _encoded(
    chunk: list[Text], embedder: Embedder, working: Working, *, by_token: bool
) -> tuple[Chunk, Counts]:
    """Encode those texts of a chunk that are new, and copy what is known of the others."""
    texts = [_shown(row) for row in chunk]
    keys = [digest_of(text) for text in texts]
    held = {key: working.known[key] for key in keys if key in working.known}
    new = {key: text for key, text in zip(keys, texts, strict=True) if key not in held}
    found: dict[bytes, tuple[FloatArray, NDArray[np.int32] | None]] = {
        key: (
            working.vectors(start, start + length),
            working.offsets(start, start + length) if by_token else None,
        )
        for key, (start, length) in held.items()
    }
    if by_token:
        for key, each in zip(new, embedder.encode_tokens(list(new.values())), strict=True):
            found[key] = each.vectors, each.offsets
    else:
        encoded = embedder.encode(list(new.values()))
        found.update((key, (encoded[row : row + 1], None)) for row, key in enumerate(new))
    lengths = [len(found[key][0]) for key in keys]
    counts = working.counts
    start = counts.vectors
    for key, length in zip(keys, lengths, strict=True):
        working.remember(key, (start, length))
        start += length
    empty = sum(not text for text in texts)
    copied = len(texts) - empty - len(new) + ("" in new.values())
    return (
        Chunk(
            keys,
            lengths,
            np.concatenate([found[key][0] for key in keys]),
            np.concatenate([cast("Any", found[key][1]) for key in keys]) if by_token else None,
            [row.id for row in chunk],
        ),
        Counts(
            rows=counts.rows + len(chunk),
            vectors=start,
            empty=counts.empty + empty,
            copied=counts.copied + copied,
            truncated=counts.truncated,
            named=counts.named + sum(row.id is not None for row in chunk),
        ),
    )


def _finish(working: Working, out: Path, run: Mapping[str, Any], *, cut: Cut) -> dict[str, Any]:
    """Write the file in its format, and what is said of it; return the report of it."""
    counts = working.counts
    made = working.folder / f"finished{out.suffix}"
    write_file(cut.vectors(working), made, out.suffix)
    report = {
        "out": str(out),
        "rows": counts.rows,
        "dimension": cut.dimensions,
        "dtype": cut.dtype,
        "empty": counts.empty,
        "duplicates": counts.copied,
        "truncated": counts.truncated,
        "tokens": counts.vectors if cut.by_token else None,
        "recall": cut.recall(working),
    }
    try:
        if counts.named and out.suffix != ".parquet":
            shutil.copyfile(working.folder / "ids", out.with_name(f"{out.name}.ids.jsonl"))
        out.unlink(missing_ok=True)  # what is said of it from here on is of the new one
        about = {
            "run": run,
            "report": report,
            "texts": _digest_of_all(working.digests()),
            **cut.facts(),
        }
        write_whole(_about(out), orjson.dumps(about, option=orjson.OPT_INDENT_2))
        finish(working, made, out)
    except OSError as error:
        raise unwritable(out, error) from error
    return report
