"""`qa-eval retriever`: is the gold review found?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from eval.cli.evaluation import check_places, hand_over, is_own, load
from eval.cli.options import (
    SEARCHED,
    AggregateOption,
    DatasetOption,
    OutOption,
    ResamplesOption,
    RowsOption,
    ScopeOption,
    SliceOption,
    SplitOption,
)
from qa_system.console.options import ENCODER_IDENTITY, JsonOption, Setting, takes_settings
from qa_system.errors import ConfigError
from qa_system.retrievers.registry import mode_named
from qa_system.retrievers.registry import modes as known_retrievers

if TYPE_CHECKING:
    from qa_system.config import Settings

__all__ = ["retriever"]

DEFAULT_KS = (1, 3, 5, 10)
ALL = "all"
MODE = Setting(
    "retriever.mode",
    "bm25, dense, hybrid, sentences, judged, the name of an added retriever, or all.",
    formerly="--retriever",
    default="as configured",
    read=lambda mode: None if mode == ALL else mode,
)


@takes_settings(SEARCHED, MODE, *ENCODER_IDENTITY)
def retriever(
    settings: Settings,
    dataset: DatasetOption = None,
    split: SplitOption = None,
    only: SliceOption = None,
    scope: ScopeOption = "item",
    retriever_mode: str | None = None,
    k: Annotated[
        list[str] | None, typer.Option("--k", help="Cut-offs of the metrics. Default: 1 3 5 10.")
    ] = None,
    aggregate: AggregateOption = False,
    store: str | None = None,
    out: OutOption = None,
    rows: RowsOption = None,
    trec: Annotated[
        Path | None,
        typer.Option(
            help="Write qrels and a run for each retriever to this folder, as trec_eval reads them."
        ),
    ] = None,
    resamples: ResamplesOption = 10_000,
    as_json: JsonOption = False,
) -> None:
    """Measure how often a retriever finds the gold review: recall@k, MRR, MAP, nDCG."""
    check_places(out, rows)
    ks = _cut_offs(k)
    if retriever_mode == ALL:
        modes = tuple(known_retrievers())
    else:
        modes = (mode_named(settings.retriever.mode).name,)
    if trec is not None:
        from eval.runs.trec import check_trec_folder

        check_trec_folder(trec, modes)
    data, split = load(dataset, split, settings, only)

    from eval.tasks.candidates import Selection
    from eval.tasks.run import retriever_run

    selection = Selection(split, scope, aggregate, is_own(store, settings))
    run = retriever_run(data, settings, selection, modes=modes, ks=ks)
    if trec is not None:
        from eval.runs.storage import write_files
        from eval.runs.trec import trec_files

        write_files(trec_files(run, trec))
    hand_over(run, data, out, rows, resamples, as_json=as_json)


def _cut_offs(given: list[str] | None) -> tuple[int, ...]:
    if not given:
        return DEFAULT_KS
    texts = [part for text in given for part in text.split(",") if part]
    if not texts or not all(text.isdecimal() and int(text) > 0 for text in texts):
        raise ConfigError(
            f"--k {' '.join(given)} is not a list of whole numbers from 1",
            remedy="Write --k 1 3 5, --k 1,3,5 or --k 1 --k 3 --k 5.",
        )
    return tuple(sorted({int(text) for text in texts}))
