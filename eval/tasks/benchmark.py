"""Readers compared by what they cost: accuracy, time of a question, size on disk.

Chapter 8 of "Natural Language Processing with Transformers" (Tunstall, von Werra and Wolf, 2022)
calls it a performance benchmark. The readers take turns on every question, so that a machine that
gets busy slows all of them alike.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import groupby, islice
from pathlib import Path
from random import Random
from time import perf_counter
from typing import TYPE_CHECKING, Any, get_args

import numpy as np
from numpy.typing import NDArray

from eval.metrics import added_names
from eval.runs.provenance import machine, made_with
from eval.runs.run import Run, System
from eval.runs.slices import slices_of
from eval.tasks.predictions import baselines_of
from eval.tasks.reader import BATCH, HEADLINE, Reader, evaluate_reader
from qa_system.config import Settings
from qa_system.config.choices import Precision
from qa_system.console.progress import progress
from qa_system.datasets.dataset import Dataset
from qa_system.errors import ConfigError, EvaluationError
from qa_system.models.inference import OLDER_TOKENIZERS
from qa_system.models.locate import MANIFEST, ModelLocation, locate
from qa_system.pipelines import build_reader
from qa_system.records import Label, Review

if TYPE_CHECKING:
    from haystack import Document

    from qa_system.readers.extractive import ExtractiveReader

__all__ = [
    "PERFORMANCE",
    "Timing",
    "benchmark_run",
    "costs",
    "files_of",
    "latencies",
    "readers_named",
]

PERFORMANCE = "performance"
"""The key of a system's time and size among its details."""

Asked = tuple[str, Sequence["Document"]]


@dataclass(frozen=True, slots=True)
class Timing:
    """How the time of a question is measured.

    Args:
        questions: how many are timed, spread over the split.
        runs: how often each is asked.
        warm_up: questions that each reader answers first, which are not counted.
        reviews: reviews that a question is answered from: the gold one, others of the item, then
            others of the data set; None: `retriever.top_k`, as many as users' questions have.
    """

    questions: int = 50
    runs: int = 3
    warm_up: int = 3
    reviews: int | None = None


def readers_named(names: Sequence[str], settings: Settings) -> dict[str, Settings]:
    """Read `NAME` or `NAME:PRECISION` of each reader, as on a command line.

    Args:
        names: none: the configured reader alone.
        settings: everything else about the readers.

    Returns:
        Name, as it was given -> settings.

    Raises:
        ConfigError: a name is given twice.

    >>> [each] = readers_named(["bundled:reader:int8"], Settings()).values()
    >>> each.reader.model, each.reader.precision
    ('bundled:reader', 'int8')
    """
    found = {}
    for name in names or (settings.reader.model,):
        if name in found:
            raise ConfigError(
                f"the reader {name!r} is named twice", remedy="Name each reader once."
            )
        model, _, precision = name.rpartition(":")
        named = {"model": name}
        if model and precision in get_args(Precision):
            named = {"model": model, "precision": precision}
        reader = settings.reader.model_copy(update=named)
        found[name] = settings.model_copy(update={"reader": reader})
    return found


def benchmark_run(
    data: Dataset,
    readers: Mapping[str, Settings],
    *,
    split: str | None = None,
    timing: Timing | None = None,
    batch: int = BATCH,
) -> Run:
    """Evaluate readers on the same questions, and measure their time and their size.

    Args:
        data: the questions.
        readers: name -> settings, whose `reader` says what runs; the first is the baseline.
        split: which questions; None: all.
        timing: how the time is measured; None: the defaults.
        batch: questions in one call where answers are scored; it changes no result.

    Returns:
        A run of readers, each compared with the baseline. A system's `details` have
        `performance`:

        - `bytes` on disk, of the `files` that are loaded; `size_ratio`: divided by the baseline's;
        - `ms`: `median`, `p95` and `mean` of a question, and `runs`, the median of each run;
        - `speedup`: the baseline's time divided by this reader's, the median over the questions.

    Raises:
        EvaluationError: the numbers would mean nothing; see `evaluate_reader`.
        QASystemError: a reader cannot be loaded, or there is no such split.
    """
    timing = Timing() if timing is None else timing
    baseline, *others = readers
    settings = readers[baseline]
    if timing.reviews is None:
        timing = replace(timing, reviews=settings.retriever.top_k)
    labels = data.labels_of(split)
    loaded = {name: build_reader(each) for name, each in readers.items()}
    systems = _evaluated(labels, loaded, data, batch)
    timed = _timed(labels, systems, timing.questions)
    asked = _with_reviews(timed, data.reviews, timing.reviews or 1, settings.seed)
    times = latencies(loaded, asked, runs=timing.runs, warm_up=timing.warm_up)
    files = {name: files_of(locate(each.reader.model)) for name, each in readers.items()}
    return Run(
        kind="reader",
        primary="f1",
        headline=(*HEADLINE, *added_names("reader")),
        systems={
            name: replace(systems[name], details={**systems[name].details, PERFORMANCE: cost})
            for name, cost in costs(times, files).items()
        },
        baselines=baselines_of(labels, [label.context for label in labels], settings.seed),
        made_with=made_with(
            settings,
            data,
            split,
            {name: each.reader.model for name, each in readers.items()},
            timing={**asdict(timing), "questions": len(asked)},
            machine=machine(),
        ),
        pairs=tuple((name, baseline) for name in others),
    )


def latencies(
    readers: Mapping[str, Reader], asked: Sequence[Asked], *, runs: int, warm_up: int
) -> dict[str, NDArray[np.float64]]:
    """Measure how long each reader takes for each question.

    Args:
        readers: loaded; on each question another one begins.
        asked: questions with their reviews.
        runs: how often each question is asked.
        warm_up: questions that are asked first and not counted.

    Returns:
        Name -> milliseconds, shape (runs, questions).
    """
    names = list(readers)
    for question, reviews in asked[:warm_up]:
        for name in names:
            readers[name].read([question], [reviews])
    times = {name: np.zeros((runs, len(asked))) for name in names}
    with progress("timing", unit="questions", total=runs * len(asked)) as shown:
        for run in range(runs):
            for place, (question, reviews) in enumerate(asked):
                begins = (run + place) % len(names)
                for name in (*names[begins:], *names[:begins]):
                    start = perf_counter()
                    readers[name].read([question], [reviews])
                    times[name][run, place] = 1_000 * (perf_counter() - start)
                shown.advance(1)
    return times


def files_of(location: ModelLocation) -> list[Path]:
    """Return the files that a reader is loaded from: weights, configuration and tokenizer.

    >>> [path.name for path in files_of(locate("bundled:reader"))]
    ['model.json', 'model.onnx', 'tokenizer.json']
    """
    folder = location.path
    exported = location.format == "onnx"
    weights = folder.glob("*.onnx*" if exported else "*.safetensors*")
    has_own = (folder / "tokenizer.json").is_file()
    tokenizer = ("tokenizer.json",) if has_own else (*OLDER_TOKENIZERS, "merges.txt")
    named = [folder / name for name in (MANIFEST if exported else "config.json", *tokenizer)]
    return sorted({path for path in (*weights, *named) if path.is_file()})


def costs(
    times: Mapping[str, NDArray[np.float64]], files: Mapping[str, Sequence[Path]]
) -> dict[str, dict[str, Any]]:
    """Return time and size of each reader as `benchmark_run` describes them.

    Args:
        times: name -> milliseconds, shape (runs, questions); the first reader is the baseline.
        files: name -> the files that it is loaded from.
    """
    baseline = next(iter(times))
    sizes = {name: {path.name: path.stat().st_size for path in files[name]} for name in times}
    total = {name: sum(each.values()) for name, each in sizes.items()}
    return {
        name: {
            "bytes": total[name],
            "files": sizes[name],
            "size_ratio": total[name] / total[baseline],
            "ms": {
                "median": float(np.median(own)),
                "p95": float(np.percentile(own, 95)),
                "mean": float(own.mean()),
                "runs": np.median(own, axis=1).tolist(),
            },
            "speedup": float(np.median(times[baseline] / own)),
        }
        for name, own in times.items()
    }


def _evaluated(
    labels: Sequence[Label], readers: Mapping[str, ExtractiveReader], data: Dataset, batch: int
) -> dict[str, System]:
    # All are loaded first: an hour of reading is not lost because the last one cannot be.
    for reader in readers.values():
        reader.warm_up()
    slices = slices_of(labels, data)
    return {
        name: evaluate_reader(labels, reader, batch=batch, slices=slices)
        for name, reader in readers.items()
    }


def _timed(
    labels: Sequence[Label], systems: Mapping[str, System], questions: int
) -> Sequence[Label]:
    """Choose questions from all over the split, of those that every reader can answer."""
    failed = {row.key for each in systems.values() for row in each.rows if row.error is not None}
    sound = [label for label in labels if (label.split, label.question_id) not in failed]
    if not sound:
        raise EvaluationError(
            "there is no question that every reader can answer",
            remedy="Evaluate the readers one by one: qa-eval reader --reader-model NAME.",
        )
    return sound[:: max(len(sound) // questions, 1)][:questions]


def _with_reviews(
    labels: Sequence[Label], reviews: Sequence[Review], count: int, seed: int
) -> list[Asked]:
    """Return each question with its gold review, others of its item, then others at random."""
    from haystack import Document

    def item_of(review: Review) -> str:
        return review.item_id

    of_item = {
        item: list(group) for item, group in groupby(sorted(reviews, key=item_of), key=item_of)
    }
    draw = Random(seed)

    def documents(label: Label) -> list[Document]:
        own = of_item.get(label.item_id, []) if label.item_id else []
        drawn = draw.sample(reviews, min(count, len(reviews)))
        texts = {label.review_id: label.context}
        texts |= {each.id: each.text for each in (*own, *drawn) if each.id != label.review_id}
        return [Document(id=key, content=text) for key, text in islice(texts.items(), count)]

    return [(label.question, documents(label)) for label in labels]
