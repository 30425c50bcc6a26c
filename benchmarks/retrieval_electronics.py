"""Is the gold review found? SubjQA, all of an item's reviews as candidates, the test split.

    python -m benchmarks.retrieval_electronics            # the bars, on electronics
    python -m benchmarks.retrieval_electronics --domain grocery
    python -m benchmarks.retrieval_electronics --tune     # how to join, on train and dev

Questions that nobody could answer are left out: they have no gold review. Random order is a strong
baseline here, because half of the questions have five candidates or fewer; it is computed in closed
form. The settings of the joiner were chosen on train and dev of four domains (`--tune` compares
them there). The test scores were known at that time, so they may be a little optimistic.
"""

from __future__ import annotations

import argparse
import math
import os
import sys
from pathlib import Path

from eval.datasets import load_dataset
from eval.report.tables import print_table
from eval.runs.run import System
from eval.tasks.candidates import temporary_index
from eval.tasks.retriever import baselines_of, evaluate_retriever
from qa_system.config import Settings, load_settings
from qa_system.stores import open_store

DATA = Path(os.environ.get("QA_DATA", Path(__file__).parents[2] / "shared" / "data")) / "subjqa"
KS = (1, 3, 5)
COLUMNS = [*(f"recall@{k}" for k in KS), "mrr"]
BARS = {"bm25": 0.70, "hybrid": 0.71}
WEIGHTS = (0.3, 0.4, 0.5, 0.6, 0.7)


def main(arguments: list[str] | None = None) -> int:
    """Print the table; give 1 if a bar is missed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--domain", default="electronics")
    parser.add_argument("--tune", action="store_true", help="compare joins on train and dev")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", dest="set_")
    chosen = parser.parse_args(arguments)
    if not DATA.is_dir():
        print(f"SubjQA is not at {DATA}: set QA_DATA.", file=sys.stderr)
        return 0
    settings = load_settings(overrides=chosen.set_)
    data = load_dataset(DATA / chosen.domain)
    if chosen.tune:
        labels = [label for label in data.labels if label.split != "test"]
        runs = {
            "bm25": {"mode": "bm25"},
            "dense": {"mode": "dense"},
            "reciprocal_rank_fusion": {"mode": "hybrid", "join": "reciprocal_rank_fusion"},
        } | {
            f"weighted_sum {weight}": {
                "mode": "hybrid",
                "join": "weighted_sum",
                "bm25_weight": weight,
            }
            for weight in WEIGHTS
        }
    else:
        labels = list(data.labels_of("test"))
        runs = {mode: {"mode": mode} for mode in ("bm25", "dense", "hybrid")}
    found: dict[str, System] = {}
    with (
        temporary_index(data.reviews, settings, embed=True) as placed,
        open_store(placed.store) as store,
    ):
        for name, changes in runs.items():
            run = _with(settings, changes)
            found[name] = evaluate_retriever(labels, store, run, scope="item", ks=KS)
    first = next(iter(found.values()))
    rows = {name: system.metrics for name, system in found.items()}
    rows |= {name: system.metrics for name, system in baselines_of(labels, first, KS).items()}
    notes = [
        "{answerable} answerable questions; candidates: median {candidates_median:g}, "
        "at most {candidates_max}".format_map(first.counts)
    ]
    missed = False
    if not chosen.tune and chosen.domain == "electronics":
        for name, bar in BARS.items():
            recall = found[name].metrics["recall@3"] or 0.0
            error = math.sqrt(recall * (1 - recall) / first.counts["answerable"])
            verdict = "reached" if recall >= bar else "MISSED"
            missed |= recall < bar
            notes.append(f"{name}: recall@3 {recall:.3f} +- {error:.3f}, bar {bar:.2f}: {verdict}")
    part = "train and dev" if chosen.tune else "test"
    title = f"SubjQA {chosen.domain}, {part}, scope item"
    print_table(title, rows, COLUMNS, notes)
    return int(missed)


def _with(settings: Settings, changes: dict[str, object]) -> Settings:
    retriever = settings.retriever.model_validate({**settings.retriever.model_dump(), **changes})
    return settings.model_copy(update={"retriever": retriever})


if __name__ == "__main__":
    sys.exit(main())
