"""A retriever's rankings in the format of TREC, which trec_eval, ir_measures and ranx read.

trec_eval orders a question's documents by score, highest first, and equal scores by id, highest
first; it does not look at ranks, and keeps scores as 32-bit numbers. Its metrics of a run with ties
are those of that one order, where ours are means over all orders of a tie.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from eval.metrics.ranking import scores_in_order
from eval.runs.run import Row, Run
from eval.runs.storage import make_folder
from qa_system.errors import DataError

__all__ = ["QRELS", "check_trec_folder", "trec_files"]

QRELS = "qrels.txt"


def trec_files(run: Run, folder: Path) -> dict[Path, bytes]:
    """Return the files of an evaluation of retrievers, path -> content.

    `qrels.txt` has a line for each gold review, `NAME.run` one for each review that the system
    NAME returned. A question is named by its id, after its split if two splits have the same id.
    White space in ids, which the format cannot hold, is written as in addresses (`%20`).

    Args:
        run: of `evaluate_retriever`.
        folder: where the files are to be.
    """
    systems = {name: system.rows for name, system in run.systems.items()}
    rows = next(iter(systems.values()))
    names = _names(rows)
    files = {folder / QRELS: _lines(_judged(rows, names))}
    for system, own in systems.items():
        files[folder / f"{_word(system)}.run"] = _lines(_ranked(own, names, _word(system)))
    return files


def check_trec_folder(folder: Path, systems: Sequence[str]) -> None:
    """Make the folder, and refuse one in which `trec_files` would replace a file.

    Raises:
        DataError: it cannot be made, or a file is there already.
    """
    make_folder(folder)
    files = (QRELS, *(f"{_word(system)}.run" for system in systems))
    if there := [name for name in files if (folder / name).exists()]:
        raise DataError(
            f"the folder holds {', '.join(there)} already",
            where=str(folder),
            remedy="Name another folder, or remove them.",
        )


def _judged(rows: Sequence[Row], names: Mapping[Any, str]) -> Iterator[str]:
    for row in rows:
        for review in row.output["gold"]:
            yield f"{names[row.key]} 0 {_word(review)} 1"


def _ranked(rows: Sequence[Row], names: Mapping[Any, str], tag: str) -> Iterator[str]:
    for row in rows:
        ranked = row.output["ranked"]
        scores = scores_in_order(len(ranked), row.output.get("scores"))
        if scores is None:
            scores = [len(ranked) - place for place in range(len(ranked))]
        for rank, (review, score) in enumerate(zip(ranked, scores, strict=True), start=1):
            yield f"{names[row.key]} Q0 {_word(review)} {rank} {float(score)!r} {tag}"


def _names(rows: Sequence[Row]) -> dict[Any, str]:
    times = Counter(row.question_id for row in rows)
    return {
        row.key: _word(
            row.question_id if times[row.question_id] == 1 else f"{row.split}:{row.question_id}"
        )
        for row in rows
    }


def _word(text: str) -> str:
    return "".join(quote(each) if each.isspace() or each == "%" else each for each in text)


def _lines(lines: Iterator[str]) -> bytes:
    return "".join(f"{line}\n" for line in lines).encode()
