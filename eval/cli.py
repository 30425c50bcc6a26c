"""`qa-eval`: is the right review found, is the right answer read?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args

import typer
from typer.core import TyperCommand

from qa_system.console import print_json, run_app
from qa_system.errors import ConfigError

if TYPE_CHECKING:
    from eval.labels import Dataset
    from eval.retrieval import RetrieverEvaluation
    from qa_system.config import Settings
    from qa_system.stores.faiss import FAISSDocumentStore

__all__ = ["app", "main"]

Mode = Literal["bm25", "dense", "hybrid"]
MODES: tuple[Mode, ...] = get_args(Mode)
DEFAULT_KS = (1, 3, 5, 10, 20)

app = typer.Typer(
    help="Evaluate retrieval and reading on labelled questions.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

DatasetOption = Annotated[
    str | None,
    typer.Option("--dataset", help="A SubjQA folder or a SQuAD file; none: the bundled sample."),
]
SplitOption = Annotated[
    str | None, typer.Option("--split", help="Part of the data set; none: test if there is one.")
]
ReaderOption = Annotated[
    str | None, typer.Option("--reader", help="A model's name; none: the configured one.")
]
PrecisionOption = Annotated[
    Literal["auto", "fp32", "bf16", "int8"] | None,
    typer.Option("--precision", help="None: the configured one."),
]
RowsOption = Annotated[
    Path | None, typer.Option("--rows", help="Write a JSON line for each question here.")
]
ConfigOption = Annotated[
    Path | None, typer.Option("--config", "-c", help="YAML settings; none: the defaults.")
]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Any setting, e.g. retriever.join=..."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="JSON on stdout.")]


class _SpreadK(TyperCommand):
    """Let `--k 1 3 5` mean what `--k 1 --k 3 --k 5` means."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        spread: list[str] = []
        after_k = False
        for arg in args:
            if after_k and arg[:1].isdigit() and spread[-1] != "--k":
                spread.append("--k")
            elif arg.startswith("-"):
                after_k = arg == "--k"
            spread.append(arg)
        return super().parse_args(ctx, spread)


@app.command(cls=_SpreadK)
def retriever(
    dataset: DatasetOption = None,
    split: SplitOption = None,
    scope: Annotated[
        Literal["item-split", "item", "open"],
        typer.Option(help="Candidates: the item's reviews in the split; all the item's; all."),
    ] = "item",
    mode: Annotated[
        Literal["bm25", "dense", "hybrid", "all"] | None,
        typer.Option("--retriever", help="None: the configured one."),
    ] = None,
    k: Annotated[list[str] | None, typer.Option("--k", help="Cut-offs; none: 1 3 5 10 20.")] = None,
    store: Annotated[
        str | None,
        typer.Option("--store", help="Search this store, not the data set's own reviews."),
    ] = None,
    rows: RowsOption = None,
    config: ConfigOption = None,
    set_: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Measure how often the review that answers is found: recall@k, MRR, MAP, nDCG."""
    from qa_system.config import load_settings

    ks = _cut_offs(k)
    overrides = list(set_ or [])
    if store is not None:
        overrides.append(f"store.path={store}")
    settings = load_settings(config, overrides)
    modes = MODES if mode == "all" else (settings.retriever.mode if mode is None else mode,)
    data, split = _load(dataset, split)

    from eval.report import made_with, write_rows
    from eval.retrieval import evaluate_retriever

    labels = data.labels_of(split)
    found: dict[str, RetrieverEvaluation] = {}
    embed = set(modes) != {"bm25"}
    with _searched(data, settings, own=store is not None, embed=embed) as searched:
        for name in modes:
            chosen = settings.retriever.model_copy(update={"mode": name})
            run = settings.model_copy(update={"retriever": chosen})
            found[name] = evaluate_retriever(labels, searched, run, scope=scope, ks=ks)
    if rows is not None:
        write_rows(
            rows,
            (
                {"retriever": name, **row.to_dict()}
                for name, evaluation in found.items()
                for row in evaluation.rows
            ),
        )
    if not as_json:
        _print_retrieval(found, f"{data.path}, {split or 'all splits'}, scope {scope}", ks)
        return
    models_used = {"encoder": settings.encoder.model} if embed else {}
    if embed and settings.encoder.question_model is not None:
        models_used["question_encoder"] = settings.encoder.question_model
    reports: dict[str, dict[str, Any]] = {
        name: {
            "metrics": evaluation.metrics,
            "counts": evaluation.counts,
            "references": evaluation.references,
        }
        for name, evaluation in found.items()
    }
    report = reports[modes[0]] if len(modes) == 1 else {"retrievers": reports}
    made = made_with(
        settings, data, split, models_used, scope=scope, retrievers=list(modes), store=store
    )
    print_json({**report, "made_with": made})


@app.command()
def reader(
    dataset: DatasetOption = None,
    split: SplitOption = None,
    model: ReaderOption = None,
    precision: PrecisionOption = None,
    rows: RowsOption = None,
    config: ConfigOption = None,
    set_: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Measure the reader alone, given the gold review: EM and F1 by the SQuAD 2.0 rules."""
    settings = _reader_settings(config, set_, model, precision)
    data, split = _load(dataset, split)

    from eval.reading import evaluate_reader
    from eval.report import made_with, print_table, write_rows
    from qa_system.pipelines import build_reader

    extractive = build_reader(settings)
    extractive.warm_up()
    run = evaluate_reader(data.labels_of(split), extractive)
    if rows is not None:
        write_rows(rows, (row.to_dict() for row in run.rows))
    if as_json:
        made = made_with(settings, data, split, {"reader": settings.reader.model})
        print_json(
            {
                "metrics": run.metrics,
                "counts": run.counts,
                "references": run.references,
                "made_with": made,
            }
        )
        return
    threshold = run.metrics["best_f1_thresh"]
    best = "none" if threshold is None else f"{threshold:.2f}"
    print_table(
        f"{settings.reader.model} alone: {data.path}, {split or 'all splits'}",
        {"reader": run.metrics, **run.references},
        [name for name in run.metrics if not name.startswith("best_")],
        [
            "{questions} questions: {answerable} with an answer, {unanswerable} without; "
            "{answered} answered, {missing} missing.".format_map(run.counts),
            f"Best F1 on these very labels: {run.metrics['best_f1']:.3f}, threshold {best}.",
        ],
    )


@app.command()
def calibrate(
    dataset: Annotated[
        list[str] | None,
        typer.Option("--dataset", help="May be repeated: each counts alike. None: the sample."),
    ] = None,
    split: Annotated[str, typer.Option("--split", help="Not the one to be tested on.")] = "dev",
    model: ReaderOption = None,
    precision: PrecisionOption = None,
    write: Annotated[bool, typer.Option("--write", help="Into the model's manifest.")] = False,
    config: ConfigOption = None,
    set_: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Fit the reader's no-answer threshold and temperature on labelled questions."""
    settings = _reader_settings(config, set_, model, precision)
    named: list[str | None] = [None] if dataset is None else [*dataset]
    loaded = [_load(name, split)[0] for name in named]

    from eval.calibration import calibration_of, write_calibration
    from eval.reading import evaluate_reader
    from eval.report import made_with
    from qa_system.models import locate
    from qa_system.pipelines import build_reader

    extractive = build_reader(settings)
    extractive.warm_up()
    runs = [evaluate_reader(data.labels_of(split), extractive) for data in loaded]
    names = ", ".join(f"{Path(data.path).name} {split}" for data in loaded)
    fitted = calibration_of(runs, names)
    if write:
        write_calibration(fitted, locate(settings.reader.model))
    if as_json:
        print_json(
            {
                "calibration": fitted.to_dict(),
                "runs": [
                    {
                        "metrics": run.metrics,
                        "made_with": made_with(
                            settings, data, split, {"reader": settings.reader.model}
                        ),
                    }
                    for data, run in zip(loaded, runs, strict=True)
                ],
            }
        )
        return
    typer.echo(f"no_answer_threshold: {fitted.threshold:.4f}")
    typer.echo(f"temperature: {fitted.temperature:.4f}")


def main() -> None:
    """Run the command line."""
    run_app(app)


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


def _load(path: str | None, split: str | None) -> tuple[Dataset, str | None]:
    from eval.labels import load_dataset
    from qa_system.models import SAMPLE

    data = load_dataset(SAMPLE if path is None else path)
    if split is None and "test" in data.splits:
        return data, "test"
    return data, split


def _reader_settings(
    config: Path | None, set_: list[str] | None, model: str | None, precision: str | None
) -> Settings:
    from qa_system.config import load_settings

    overrides = list(set_ or [])
    overrides += [] if model is None else [f"reader.model={model}"]
    overrides += [] if precision is None else [f"reader.precision={precision}"]
    return load_settings(config, overrides)


@contextmanager
def _searched(
    data: Dataset, settings: Settings, *, own: bool, embed: bool
) -> Iterator[FAISSDocumentStore]:
    """Open the store that was named, or index the data set's reviews for the while."""
    from eval.retrieval import store_of
    from qa_system.stores import open_store

    opened = open_store(settings.store) if own else store_of(data.reviews, settings, embed=embed)
    with opened as store:
        yield store


def _print_retrieval(
    found: Mapping[str, RetrieverEvaluation], title: str, ks: Sequence[int]
) -> None:
    from eval.report import print_table

    first = next(iter(found.values()))
    notes = [
        "{answerable} questions with an answer ({unanswerable} without one are left out), "
        "candidates: median {candidates_median:g}, at most {candidates_max}.".format_map(
            first.counts
        )
    ]
    if first.counts["gold_missing"]:
        notes.append("{gold_missing} gold reviews are not in the store.".format_map(first.counts))
    print_table(
        f"Retrieval: {title}",
        {**{name: run.metrics for name, run in found.items()}, **first.references},
        [f"recall@{k}" for k in ks] + ["mrr", f"ndcg@{ks[-1]}"],
        notes,
    )


if __name__ == "__main__":
    main()
