"""What static vectors lose against their encoder, and how much faster they are.

    python -m benchmarks.static                   # SubjQA electronics
    python -m benchmarks.static --sample          # the bundled sample

Time is that of the processor, tokenising included, of the same reviews in turn; medians of three.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

from eval.datasets import load_dataset
from eval.report.tables import print_table
from eval.tasks.candidates import temporary_index
from eval.tasks.retriever import baselines_of, evaluate_retriever
from qa_system.config import EncoderSettings, load_settings
from qa_system.datasets.dataset import Dataset
from qa_system.export.static import DIMENSIONS, distill_static
from qa_system.retrievers.encoders import load_encoder
from qa_system.stores import open_store

DATA = Path(os.environ.get("QA_DATA", Path(__file__).parents[2] / "shared" / "data")) / "subjqa"
KS = (1, 3, 5)
COLUMNS = [*(f"recall@{k}" for k in KS), "mrr"]
ROUNDS = 3


def main(arguments: list[str] | None = None) -> int:
    """Print both tables; give 0 also where there is no data."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="bundled:encoder")
    parser.add_argument("--dimensions", type=int, default=DIMENSIONS)
    parser.add_argument("--reviews", type=int, default=200, help="that are timed")
    parser.add_argument("--sample", action="store_true")
    chosen = parser.parse_args(arguments)
    if not (chosen.sample or DATA.is_dir()):
        print(f"SubjQA is not at {DATA}: set QA_DATA.", file=sys.stderr)
        return 0
    name = "bundled:sample" if chosen.sample else str(DATA / "electronics")
    data = load_dataset(name)
    with tempfile.TemporaryDirectory() as folder:
        begin = time.process_time()
        distill_static(chosen.model, folder, dimensions=chosen.dimensions)
        made = time.process_time() - begin
        size = sum(path.stat().st_size for path in Path(folder).iterdir()) / 1e6
        models = {"the encoder": chosen.model, f"static, {chosen.dimensions}": folder}
        print(f"made in {made:.0f} seconds of the processor; {size:.1f} MB", flush=True)
        speed(data, models, chosen.reviews)
        lost(data, models, title=f"{Path(name).name}, test, scope item")
    return 0


def lost(data: Dataset, models: dict[str, str], *, title: str) -> None:
    """Print what each encoder finds, alone and joined with BM25."""
    labels = list(data.labels_of("test"))
    rows = {}
    first = None
    for name, model in models.items():
        settings = load_settings(None, {"encoder.model": model})
        with (
            temporary_index(data.reviews, settings, embed=True) as placed,
            open_store(placed.store) as store,
        ):
            for mode in ("dense", "hybrid"):
                run = load_settings(None, {"encoder.model": model, "retriever.mode": mode})
                system = evaluate_retriever(labels, store, run, scope="item", ks=KS)
                rows[f"{mode}, {name}"] = system.metrics
                first = first or system
    assert first is not None
    rows |= {name: each.metrics for name, each in baselines_of(labels, first, KS).items()}
    note = (
        "{answerable} answerable questions; candidates: median {candidates_median:g}, "
        "at most {candidates_max}"
    )
    print_table(title, rows, COLUMNS, [note.format_map(first.counts)])


def speed(data: Dataset, models: dict[str, str], count: int) -> None:
    """Print how long each encoder takes for the same reviews and sentences, one thread."""
    texts = [review.text for review in data.reviews][:count]
    encoders = {
        name: load_encoder(EncoderSettings(model=model, threads=1))
        for name, model in models.items()
    }
    seconds: dict[str, list[float]] = {name: [] for name in models}
    for _ in range(ROUNDS):
        for name, encoder in encoders.items():
            begin = time.process_time()
            encoder.encode_passages(texts)
            seconds[name].append(time.process_time() - begin)
    medians = {name: statistics.median(each) for name, each in seconds.items()}
    slowest = max(medians.values())
    for name, each in medians.items():
        print(f"{name}: {len(texts) / each:,.0f} reviews a second, {slowest / each:,.0f} times")


if __name__ == "__main__":
    sys.exit(main())
