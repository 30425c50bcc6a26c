"""The commands that evaluate a retriever, a reader, a generator or a whole pipeline."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args

import typer
from typer.core import TyperCommand

from eval.cli.options import (
    AggregateOption,
    ConfigOption,
    DatasetOption,
    JsonOption,
    OutOption,
    PrecisionOption,
    ReaderOption,
    ResamplesOption,
    RowsOption,
    ScopeOption,
    SetOption,
    SplitOption,
    StoreOption,
)
from qa_system.console import print_json
from qa_system.errors import ConfigError

if TYPE_CHECKING:
    from eval.runs.run import Run
    from qa_system.config import Settings
    from qa_system.datasets.dataset import Dataset

__all__ = ["SpreadK", "calibrate", "generator", "pipeline", "reader", "retriever"]

Mode = Literal["bm25", "dense", "hybrid"]
MODES: tuple[Mode, ...] = get_args(Mode)
DEFAULT_KS = (1, 3, 5, 10)

BatchOption = Annotated[
    int, typer.Option("--batch", min=1, help="Questions read together; it changes no result.")
]
SimilarityOption = Annotated[
    bool, typer.Option("--sas/--no-sas", help="Semantic answer similarity, by the encoder.")
]


class SpreadK(TyperCommand):
    """Let `--k 1 3 5` mean what `--k 1 --k 3 --k 5` means."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Repeat the option before each of its values."""
        spread: list[str] = []
        after_k = False
        for arg in args:
            if after_k and arg[:1].isdigit() and spread[-1] != "--k":
                spread.append("--k")
            elif arg.startswith("-"):
                after_k = arg == "--k"
            spread.append(arg)
        return super().parse_args(ctx, spread)


def retriever(
    dataset: DatasetOption = None,
    split: SplitOption = None,
    scope: ScopeOption = "item",
    mode: Annotated[
        Literal["bm25", "dense", "hybrid", "all"] | None,
        typer.Option("--retriever", help="None: the configured one."),
    ] = None,
    k: Annotated[list[str] | None, typer.Option("--k", help="Cut-offs; none: 1 3 5 10.")] = None,
    aggregate: AggregateOption = False,
    store: StoreOption = None,
    out: OutOption = None,
    rows: RowsOption = None,
    resamples: ResamplesOption = 10_000,
    config: ConfigOption = None,
    set_: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Measure how often the review that answers is found: recall@k, MRR, MAP, nDCG."""
    _check_places(out, rows)
    ks = _cut_offs(k)
    settings = _settings(config, set_, store=store)
    modes = MODES if mode == "all" else (settings.retriever.mode if mode is None else mode,)
    data, split = _load(dataset, split, settings)

    from eval.tasks.run import retriever_run

    run = retriever_run(
        data,
        settings,
        split=split,
        scope=scope,
        modes=modes,
        ks=ks,
        aggregated=aggregate,
        own_store=_is_own(store, settings),
    )
    _hand_over(run, data, out, rows, resamples, as_json=as_json)


def reader(
    dataset: DatasetOption = None,
    split: SplitOption = None,
    model: ReaderOption = None,
    precision: PrecisionOption = None,
    predictions: Annotated[
        Path | None,
        typer.Option(
            "--predictions", help='Score these instead: JSON, {"question id": "answer", ...}.'
        ),
    ] = None,
    batch: BatchOption = 64,
    sas: SimilarityOption = True,
    out: OutOption = None,
    rows: RowsOption = None,
    resamples: ResamplesOption = 10_000,
    config: ConfigOption = None,
    set_: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Measure the reader alone, given the gold review: EM and F1 by the SQuAD 2.0 rules."""
    _check_places(out, rows)
    settings = _settings(config, set_, **{"reader.model": model, "reader.precision": precision})
    data, split = _load(dataset, split, settings)

    from eval.tasks.reader import load_predictions
    from eval.tasks.run import predictions_run, reader_run

    if predictions is None:
        run = reader_run(data, settings, split=split, batch=batch, similarity=sas)
    else:
        said = load_predictions(predictions, data.labels_of(split))
        run = predictions_run(data, settings, said, split=split, similarity=sas)
    _hand_over(run, data, out, rows, resamples, as_json=as_json)


def pipeline(
    dataset: DatasetOption = None,
    split: SplitOption = None,
    scope: ScopeOption = "item",
    top_k: Annotated[int, typer.Option("--top-k", min=1, help="Answers looked at.")] = 3,
    alone: Annotated[
        bool, typer.Option("--alone/--no-alone", help="Hold the reader alone against it.")
    ] = True,
    aggregate: AggregateOption = False,
    store: StoreOption = None,
    model: ReaderOption = None,
    precision: PrecisionOption = None,
    batch: BatchOption = 64,
    sas: SimilarityOption = True,
    out: OutOption = None,
    rows: RowsOption = None,
    resamples: ResamplesOption = 10_000,
    config: ConfigOption = None,
    set_: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Measure the whole pipeline, and where its points go: EM and F1 of the answers shown."""
    _check_places(out, rows)
    settings = _settings(
        config,
        set_,
        **{"store": store, "reader.model": model, "reader.precision": precision},
    )
    data, split = _load(dataset, split, settings)

    from eval.tasks.run import pipeline_run

    run = pipeline_run(
        data,
        settings,
        split=split,
        scope=scope,
        top_k=top_k,
        alone=alone,
        aggregated=aggregate,
        own_store=_is_own(store, settings),
        batch=batch,
        similarity=sas,
    )
    _hand_over(run, data, out, rows, resamples, as_json=as_json)


def generator(
    dataset: DatasetOption = None,
    split: SplitOption = None,
    scope: Annotated[
        Literal["item-split", "item", "open"] | None,
        typer.Option(help="Candidates, as elsewhere; none: all the item's, or all without items."),
    ] = None,
    documents: Annotated[
        int | None,
        typer.Option("--documents", min=1, help="Reviews read, the gold one among them; none: 5."),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option("--generator", help="A model's name; none: the configured one."),
    ] = None,
    questions: Annotated[
        int | None, typer.Option("--questions", min=1, help="So many, drawn; none: all.")
    ] = None,
    aggregate: AggregateOption = False,
    store: StoreOption = None,
    reader_model: ReaderOption = None,
    precision: PrecisionOption = None,
    batch: BatchOption = 64,
    sas: SimilarityOption = True,
    out: OutOption = None,
    rows: RowsOption = None,
    resamples: ResamplesOption = 10_000,
    config: ConfigOption = None,
    set_: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Measure generated answers, given the gold review among others, and what withholding buys."""
    _check_places(out, rows)
    settings = _settings(
        config,
        set_,
        **{
            "store": store,
            "generator.model": model,
            "generator.documents": None if documents is None else str(documents),
            "reader.model": reader_model,
            "reader.precision": precision,
        },
    )
    data, split = _load(dataset, split, settings)

    from eval.tasks.run import generator_run

    run = generator_run(
        data,
        settings,
        split=split,
        scope=scope,
        questions=questions,
        aggregated=aggregate,
        own_store=_is_own(store, settings),
        batch=batch,
        similarity=sas,
    )
    _hand_over(run, data, out, rows, resamples, as_json=as_json)


def calibrate(
    dataset: Annotated[
        list[str] | None,
        typer.Option("--dataset", help="May be repeated: each counts alike. None: the sample."),
    ] = None,
    split: Annotated[str, typer.Option("--split", help="Not the one to be tested on.")] = "dev",
    held_out: Annotated[
        float | None,
        typer.Option(
            "--held-out",
            help="Only on this share of the split's items: those that a recipe with the same "
            "`held_out` and `seed` kept back.",
            min=0,
            max=1,
        ),
    ] = None,
    seed: Annotated[int, typer.Option(help="Of --held-out.")] = 13,
    model: ReaderOption = None,
    precision: PrecisionOption = None,
    write: Annotated[bool, typer.Option("--write", help="Keep it with the model.")] = False,
    config: ConfigOption = None,
    set_: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Fit the reader's no-answer threshold and its probabilities on labelled questions."""
    settings = _settings(config, set_, **{"reader.model": model, "reader.precision": precision})
    named: list[str | None] = [None] if dataset is None else [*dataset]
    loaded = [_load(name, split, settings)[0] for name in named]

    from eval.runs.provenance import made_with
    from eval.tasks.calibration import fit_to
    from eval.tasks.reader import evaluate_reader
    from qa_system.datasets.splitting import hold_out
    from qa_system.models import locate
    from qa_system.pipelines import build_reader
    from qa_system.readers.calibration import keep_calibration

    labels = [data.labels_of(split) for data in loaded]
    if held_out is not None:
        labels = [hold_out(each, held_out, seed)[1] for each in labels]
    extractive = build_reader(settings)
    extractive.warm_up()
    runs = [evaluate_reader(each, extractive) for each in labels]
    part = split if held_out is None else f"{held_out:g} of {split}, held out"
    names = ", ".join(
        f"{Path(data.path).name} {part} ({len(each)} questions)"
        for data, each in zip(loaded, labels, strict=True)
    )
    fitted = fit_to(runs, names)
    if write:
        keep_calibration(fitted, locate(settings.reader.model))
    if as_json:
        models = {"reader": settings.reader.model}
        print_json(
            {
                "calibration": fitted.to_dict(),
                "runs": [
                    {"metrics": run.metrics, "made_with": made_with(settings, data, split, models)}
                    for data, run in zip(loaded, runs, strict=True)
                ],
            }
        )
        return
    typer.echo(f"no_answer_threshold: {fitted.threshold:.4f}")
    for name, told in (("right", fitted.right), ("answerable", fitted.answerable)):
        typer.echo(f"{name}: center {told.center:.3f}, temperature {told.temperature:.3f}")


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


def _load(path: str | None, split: str | None, settings: Settings) -> tuple[Dataset, str | None]:
    from eval.datasets import load_dataset
    from qa_system.models import SAMPLE

    data = load_dataset(SAMPLE if path is None else path, settings)
    if split is None and "test" in data.splits:
        return data, "test"
    return data, split


def _settings(config: Path | None, set_: list[str] | None, **flags: str | None) -> Settings:
    from qa_system.config import load_settings

    given = [f"{key}={value}" for key, value in flags.items() if value is not None]
    return load_settings(config, [*(set_ or []), *given])


def _is_own(store: str | None, settings: Settings) -> bool:
    """Tell whether to search the users' store: one that was named, or that on a server."""
    return store is not None or settings.store.type != "faiss"


def _check_places(out: Path | None, rows: Path | None) -> None:
    """Find out before hours of work whether its report can be written."""
    if out is not None or rows is not None:
        from eval.runs.storage import check_places

        check_places(out, rows)


def _hand_over(
    run: Run,
    data: Dataset,
    out: Path | None,
    rows: Path | None,
    resamples: int,
    *,
    as_json: bool,
) -> None:
    from eval.report.tables import print_summary
    from eval.runs.storage import save_run, write_rows
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
        typer.echo(f"report: {out / 'report.html'}")
