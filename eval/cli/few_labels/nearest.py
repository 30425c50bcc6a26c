"""`qa-eval nearest`: the labels of the nearest labelled questions, on held-out ones."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from eval.cli.options import DatasetOption, ResamplesOption, SplitOption
from qa_system.console.app import print_json
from qa_system.console.options import JsonOption, takes_settings

if TYPE_CHECKING:
    from qa_system.config import Settings

__all__ = ["nearest"]


@takes_settings()
def nearest(
    settings: Settings,
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="As qa train nearest wrote it.")],
    dataset: DatasetOption = None,
    split: SplitOption = None,
    resamples: ResamplesOption = 10_000,
    as_json: JsonOption = False,
) -> None:
    """Measure labels that are those of the nearest labelled questions."""
    from eval.cli.evaluation import load
    from eval.tasks.nearest import nearest_run
    from qa_system.nearest.component import NearestLabels
    from qa_system.nearest.examples import examples_of

    component = NearestLabels(str(folder))
    data, chosen = load(dataset, split, settings)
    examples = examples_of(data.labels_of(chosen), component.labelled.field)
    result = nearest_run(component, examples, resamples)
    if as_json:
        print_json(result)
    else:
        _print(result, f"{data.path}, {chosen or 'all splits'}")


def _print(result: dict[str, Any], data: str) -> None:
    from eval.report.tables import print_cells

    def shown(found: dict[str, Any]) -> str:
        mean, interval = found["mean"], found["interval"]
        between = "" if interval is None else f" [{interval[0]:.2f}, {interval[1]:.2f}]"
        return "-" if mean is None else f"{mean:.3f}{between}"

    chosen = result["chosen"]
    told = (
        f"Chosen on {chosen['questions']} questions: k {chosen['k']}, threshold "
        f"{chosen['threshold']:.3f}."
    )
    print_cells(
        f"Nearest labels, {result['field']}: {data}",
        ("questions", "labelled", "given", "precision", "recall", "micro F1", "macro F1"),
        {
            name: [
                *(str(each[count]) for count in ("questions", "labelled", "given")),
                shown(each["precision"]),
                shown(each["recall"]),
                f"{each['micro_f1']:.3f}",
                "-" if each["macro_f1"] is None else f"{each['macro_f1']:.3f}",
            ]
            for name, each in result["systems"].items()
        },
        [told, "In brackets: 95 % intervals (bootstrap over questions)."],
    )
