"""One reader, compressed in every way: what it costs in accuracy, size and time.

    python -m benchmarks.compression                         # writes benchmarks/compression.md
    python -m benchmarks.compression --checkpoint MODEL --distilled SMALL
    python -m benchmarks.compression --questions 20 --timed 3 --page /tmp/compression.md

Chapter 8 of "Natural Language Processing with Transformers" calls it `PerformanceBenchmark`. Here
it is over a reader: EM and F1 on SubjQA electronics test, each question read in its gold review;
the weights' bytes on disk; and the time of a question with ten reviews. All variants answer each
question in turn, so that a busy machine slows all of them. ONNX Runtime's own `quantize_dynamic`,
as its documentation calls it, is the peer of our int8.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from statistics import fmean, median
from time import perf_counter, process_time
from typing import Any

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["HAYSTACK_TELEMETRY_ENABLED"] = "False"
os.environ["TOKENIZERS_PARALLELISM"] = "false"

import numpy as np

from benchmarks.reader import CHECKPOINT, DATA, questions_with_reviews
from eval.runs.provenance import machine

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "benchmarks" / "compression.md"
FIGURE = ROOT / "docs" / "figures" / "compression.png"

EXACT, ONNX, INT8 = "fp32, torch", "fp32, ONNX", "int8, ours"
F1_LOSS, TIMES_AS_FAST, SHARE_OF_SIZE = 0.005, 2.5, 0.25
SCORES = ("em", "f1", "has_ans_f1", "no_ans_f1", "forced_has_ans_f1")


@dataclass(frozen=True)
class Variant:
    """A reader in a folder.

    Args:
        folder: the model's.
        precision: to compute in.
        threshold: the no-answer threshold; None: the one that the folder carries.
    """

    folder: Path
    precision: str = "auto"
    threshold: float | None = None

    @property
    def megabytes(self) -> float:
        """Its weights, without the tokenizer, which is the same for all."""
        weights = (*self.folder.glob("*.onnx"), *self.folder.glob("*.safetensors"))
        return sum(path.stat().st_size for path in weights) / 1e6

    def reader(self, threads: int) -> Any:
        from qa_system.readers.extractive import ExtractiveReader

        reader = ExtractiveReader(
            str(self.folder),
            precision=self.precision,  # type: ignore[arg-type]
            device="cpu",
            no_answer_threshold=self.threshold,
            threads=threads,
        )
        reader.warm_up()
        return reader


def main(arguments: list[str] | None = None) -> int:
    """Write the page; give 1 if a bar is missed, 2 where data or checkpoint is not there."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--checkpoint", type=Path, default=CHECKPOINT)
    parser.add_argument("--distilled", type=Path, help="what `qa distill` made of it")
    parser.add_argument("--questions", type=int, help="for the scores, and of dev (all)")
    parser.add_argument("--timed", type=int, default=60, help="time so many, ten reviews each")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--page", type=Path, default=PAGE)
    chosen = parser.parse_args(arguments)
    for place in (DATA, chosen.checkpoint, *filter(None, [chosen.distilled])):
        if not place.is_dir():
            print(f"{place} is not here: see benchmarks/README.md", file=sys.stderr)
            return 2

    import torch

    from qa_system.datasets.dataset import read_dataset

    torch.set_num_threads(chosen.threads)
    data = read_dataset(DATA)
    labels, dev = (some(data.labels_of(split), chosen.questions) for split in ("test", "dev"))
    with tempfile.TemporaryDirectory(prefix="qa-compression-") as folder:
        threshold, origin = threshold_of(chosen.checkpoint, dev)
        variants = made(chosen.checkpoint, chosen.distilled, threshold, Path(folder))
        readers = {name: each.reader(chosen.threads) for name, each in variants.items()}
        scores = accuracy(readers, labels)
        times = latency(readers, chosen.timed)
        rows = {
            name: scores[name] | times[name] | {"mb": each.megabytes}
            for name, each in variants.items()
        }
    figure = FIGURE if chosen.page == PAGE else chosen.page.with_suffix(".png")
    draw(rows, figure)
    verdicts, missed = judged(rows)
    page = written(rows, verdicts, figure, chosen, origin, len(labels))
    chosen.page.write_text(page, encoding="utf-8")
    print(page)
    if missed:
        print(f"missed: {', '.join(missed)}", file=sys.stderr)
    return 1 if missed else 0


def some(labels: Sequence[Any], count: int | None) -> Sequence[Any]:
    """Return `count` questions from all over a split, or all if it is None."""
    step = 1 if count is None else max(len(labels) // count, 1)
    return labels[::step][:count]


def threshold_of(checkpoint: Path, dev: Sequence[Any]) -> tuple[float, str]:
    """Return the threshold for all variants, and its origin: the checkpoint's own threshold, or
    the one with which it has the best F1 on dev in fp32."""
    from qa_system.models.locate import locate
    from qa_system.readers.backends import load_backend
    from qa_system.readers.calibration import calibration_of
    from qa_system.readers.windows import WindowCutter
    from qa_system.training.reader.evaluate import measure, read_labels

    carried = calibration_of(locate(str(checkpoint)))
    if carried.fitted_on is not None:
        return carried.threshold, f"the checkpoint's own, fitted on {carried.fitted_on}"
    backend = load_backend(locate(str(checkpoint)), precision="fp32", device="cpu")
    cutter = WindowCutter(backend.tokenizer, 384, 128)
    threshold = measure([read_labels(backend, cutter, dev, 40)])["threshold"]
    return round(threshold, 3), f"fitted on the {len(dev)} questions of dev in fp32"


def made(
    checkpoint: Path, distilled: Path | None, threshold: float, folder: Path
) -> dict[str, Variant]:
    """Make every variant of a checkpoint, each in a folder of its own."""
    from qa_system.export.onnx import export_model

    def exported(source: Path, name: str, precision: Any) -> Path:
        export_model(source, folder / name, task="reader", precision=precision)
        return folder / name

    fp32 = exported(checkpoint, "fp32", "fp32")
    variants = {
        EXACT: Variant(saved(checkpoint, "float32", folder / "torch"), "fp32", threshold),
        "bf16, torch": Variant(saved(checkpoint, "bfloat16", folder / "bf16"), "bf16", threshold),
        ONNX: Variant(fp32, threshold=threshold),
        "fp16, ONNX": Variant(exported(checkpoint, "fp16", "fp16"), threshold=threshold),
        INT8: Variant(exported(checkpoint, "int8", "int8"), threshold=threshold),
        "int8, ONNX Runtime's own": Variant(plain_int8(fp32, folder / "peer"), threshold=threshold),
    }
    if distilled is not None:
        small = saved(distilled, "float32", folder / "small")
        variants["distilled, fp32, torch"] = Variant(small, "fp32")
        variants["distilled, int8, ours"] = Variant(exported(distilled, "small-int8", "int8"))
    return variants


def saved(checkpoint: Path, dtype: str, folder: Path) -> Path:
    """Save a checkpoint in the precision that it is computed in: files are often in another."""
    import shutil

    import torch

    from qa_system.models.locate import TRAINING, locate
    from qa_system.readers.backends import load_checkpoint

    location = locate(str(checkpoint))
    load_checkpoint(location, dtype=getattr(torch, dtype)).save_pretrained(folder)
    for name in ("tokenizer.json", TRAINING):
        if (location.path / name).is_file():
            shutil.copyfile(location.path / name, folder / name)
    return folder


def plain_int8(fp32: Path, folder: Path) -> Path:
    """Quantise an export as ONNX Runtime's documentation does: no option but the weights' type.

    (And the type of what fused attention gives, which its shape inference does not know.)
    """
    import shutil

    import onnx
    import orjson
    from onnxruntime.quantization import QuantType, quantize_dynamic

    from qa_system.models.locate import MANIFEST

    folder.mkdir()
    quantize_dynamic(
        fp32 / "model.onnx",
        folder / "model.onnx",
        weight_type=QuantType.QInt8,
        extra_options={"DefaultTensorType": onnx.TensorProto.FLOAT},
    )
    manifest = orjson.loads((fp32 / MANIFEST).read_bytes())
    (folder / MANIFEST).write_bytes(orjson.dumps(manifest | {"precision": "int8"}))
    shutil.copyfile(fp32 / "tokenizer.json", folder / "tokenizer.json")
    return folder


def accuracy(readers: Mapping[str, Any], labels: Sequence[Any]) -> dict[str, dict[str, float]]:
    """Read each question's gold review with each reader."""
    from eval.tasks.reader import evaluate_reader

    runs = {name: evaluate_reader(labels, reader) for name, reader in readers.items()}
    table = {}
    for name, run in runs.items():
        pairs = zip(run.rows, runs[EXACT].rows, strict=True)
        same = fmean(a.output["prediction"] == b.output["prediction"] for a, b in pairs)
        table[name] = {score: run.metrics[score] or 0.0 for score in SCORES} | {"same": same}
    return table


def latency(readers: Mapping[str, Any], questions: int) -> dict[str, dict[str, float]]:
    """Time each reader on each question, in turn, after a question to warm up.

    Milliseconds are wall-clock time. Ratios are of CPU seconds, the median over questions: other
    work on the machine disturbs them less.
    """
    asked = questions_with_reviews(questions)
    clock: dict[str, list[float]] = {name: [] for name in readers}
    worked: dict[str, list[float]] = {name: [] for name in readers}
    for reader in readers.values():
        reader.read([asked[0][0]], [asked[0][1]])
    for question, reviews in asked:
        for name, reader in readers.items():
            began, cpu = perf_counter(), process_time()
            reader.read([question], [reviews])
            clock[name].append(1000 * (perf_counter() - began))
            worked[name].append(process_time() - cpu)

    def times_as_fast(name: str, as_this: str) -> float:
        return median(a / b for a, b in zip(worked[as_this], worked[name], strict=True))

    return {
        name: {
            "mean": fmean(clock[name]),
            "p50": float(np.percentile(clock[name], 50)),
            "p95": float(np.percentile(clock[name], 95)),
            "faster": times_as_fast(name, EXACT),
            "faster_onnx": times_as_fast(name, ONNX),
        }
        for name in readers
    }


def judged(rows: Mapping[str, Mapping[str, float]]) -> tuple[list[str], list[str]]:
    """Hold our int8 against fp32; give a line for each bar, and the names of the missed ones."""
    exact, ours = rows[EXACT], rows[INT8]
    lost, size = exact["f1"] - ours["f1"], ours["mb"] / exact["mb"]
    speed = (
        f"times as fast a question: {ours['faster']:.1f} (against fp32 on ONNX Runtime, itself "
        f"{rows[ONNX]['faster']:.1f} times as fast as on torch: {ours['faster_onnx']:.1f})"
    )
    bars = (
        ("F1", lost <= F1_LOSS, f"points of F1 lost: {100 * lost:.1f}", f"{100 * F1_LOSS} at most"),
        ("speed", ours["faster"] >= TIMES_AS_FAST, speed, f"{TIMES_AS_FAST} at least"),
        ("size", size <= SHARE_OF_SIZE, f"share of the bytes: {size:.3f}", f"{SHARE_OF_SIZE}"),
    )
    verdicts = [
        f"- {found}; bar {bar}: {'reached' if reached else '**missed**'}."
        for _, reached, found, bar in bars
    ]
    return verdicts, [name for name, reached, *_ in bars if not reached]


def written(
    rows: Mapping[str, Mapping[str, float]],
    verdicts: Iterable[str],
    figure: Path,
    chosen: argparse.Namespace,
    origin: str,
    questions: int,
) -> str:
    """Return the page."""
    shown = (
        "{em:.3f} {f1:.3f} {has_ans_f1:.3f} {no_ans_f1:.3f} {forced_has_ans_f1:.3f} {same:.3f} "
        "{mb:.1f} {mean:.0f} {p50:.0f} {p95:.0f} {faster:.2f} {faster_onnx:.2f}"
    )
    head = ["variant", "EM", "F1", "HasAns", "NoAns", "forced", "same", "MB"]
    head += ["mean ms", "p50 ms", "p95 ms", "x fp32 torch", "x fp32 ONNX"]
    table = ["| " + " | ".join(head) + " |", "| --- " * len(head) + "|"]
    table += [
        "| " + " | ".join([name, *shown.format(**row).split()]) + " |" for name, row in rows.items()
    ]
    return TEMPLATE.format(
        command=" ".join(["python -m benchmarks.compression", *sys.argv[1:]]),
        checkpoint=chosen.checkpoint.name,
        questions=questions,
        timed=chosen.timed,
        threads=chosen.threads,
        origin=origin,
        table="\n".join(table),
        figure=Path(os.path.relpath(figure, chosen.page.parent)).as_posix(),
        verdicts="\n".join(verdicts),
        machine="{processor}, {cores} cores".format_map(machine()),
        versions=", ".join(
            f"{name} {version(name)}" for name in ("torch", "transformers", "onnxruntime")
        ),
    )


def draw(rows: Mapping[str, Mapping[str, float]], path: Path) -> None:
    """Draw F1 against a question's time; a disc's area is the model's size."""
    from matplotlib.figure import Figure

    from eval.report.plots import COLOURS

    figure = Figure(figsize=(7.5, 4.2), layout="constrained")
    axes = figure.subplots()
    for number, (name, row) in enumerate(rows.items()):
        axes.scatter(
            row["p50"],
            row["f1"],
            s=8 * row["mb"],
            color=COLOURS[number % len(COLOURS)],
            alpha=0.55,
            edgecolor="black",
            linewidth=0.6,
            label=f"{name}, {row['mb']:.0f} MB",
        )
    axes.set(xlabel="ms a question of ten reviews (p50)", ylabel="F1, electronics test")
    axes.margins(0.15)
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    legend = figure.legend(loc="outside right upper", frameon=False, fontsize=8)
    for disc in legend.legend_handles:
        disc.set_sizes([40])  # type: ignore[union-attr]
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150)


TEMPLATE = """# Compression

Written by `{command}`, from the checkpoint `{checkpoint}`.

{table}

![F1 against a question's time]({figure})

The area of a disc is the model's size.

Our int8 against fp32 on torch, the checkpoint as it was trained:

{verdicts}

- **Scores**: SubjQA electronics test, {questions} questions, each read in its gold review, SQuAD
  2.0 rules. HasAns and NoAns are F1 where there is an answer and where there is none; `forced` is
  HasAns with an answer to every question; `same` the share of answers and abstentions that are
  fp32's. The threshold is {origin}; a distilled reader has its own.
- **MB**: the weights on disk. The tokenizer comes on top.
- **Time**: {timed} questions with ten reviews each, threads: {threads}, all variants in turn on
  each question, after one question to warm up. Milliseconds are the clock's. `x` is how many times
  as fast: the median over questions of a ratio of CPU seconds.
- **fp16 is for a GPU.** Here a CPU runs it to show that the answers stay: where it has no fp16
  arithmetic, ONNX Runtime casts to fp32 and back. bf16 likewise without bf16 units.
- **int8, ONNX Runtime's own**: `quantize_dynamic(..., weight_type=QInt8)` of the fp32 export.
- **Machine**: {machine}; {versions}.
"""


if __name__ == "__main__":
    sys.exit(main())
