"""The figures of chapter 7 of "Natural Language Processing with Transformers", on real data.

    python -m benchmarks.book_figures             # writes docs/results.md and docs/figures/

Recall over k for BM25 and a dense retriever (figures 7-9), the reader's scores compared with
trivial readers and people, and the reader alone compared with the whole pipeline (figure 7-12),
on SubjQA electronics; then all four domains in one table. This script prints every number in
docs/results.md. The dense retriever is the bundled encoder; `--set encoder.model=...` takes
another.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

os.environ["HF_HUB_OFFLINE"] = "1"

ROOT = Path(__file__).parents[1]
DATA = Path(os.environ.get("QA_DATA", ROOT.parent / "shared" / "data")) / "subjqa"
DOCS = ROOT / "docs"
DOMAINS = ("electronics", "grocery", "restaurants", "tripadvisor")
KS = (1, 3, 5, 10, 20)
INK = "#5a6472"
"""Readable on a light page and on a dark one."""


def main(arguments: list[str] | None = None) -> int:
    """Write the page; give 2 where there is no data."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", dest="set_")
    chosen = parser.parse_args(arguments)
    if not DATA.is_dir():
        print(f"SubjQA is not at {DATA}: set QA_DATA.", file=sys.stderr)
        return 2

    from eval.datasets import load_dataset
    from eval.report import plots
    from eval.runs.summary import summarise
    from eval.tasks.candidates import Selection
    from eval.tasks.run import pipeline_run, reader_run, retriever_run
    from qa_system.config import load_settings

    settings = load_settings(overrides=chosen.set_)
    data = {domain: load_dataset(DATA / domain) for domain in DOMAINS}

    def retrievers(domain: str, **options: Any) -> Any:
        return summarise(
            retriever_run(
                data[domain],
                settings,
                Selection("test", **options),
                modes=("bm25", "dense", "hybrid"),
                ks=KS,
            )
        )

    book = retrievers("electronics", scope="item-split", aggregated=True)
    item = {domain: retrievers(domain, scope="item") for domain in DOMAINS}
    open_ = retrievers("electronics", scope="open")
    reader = {
        domain: summarise(reader_run(data[domain], settings, split="test")) for domain in DOMAINS
    }
    pipeline = {
        domain: summarise(pipeline_run(data[domain], settings, Selection("test", "item")))
        for domain in DOMAINS
    }
    draw(plots.recall_over_k(book), "recall-over-k-book")
    draw(plots.recall_over_k(item["electronics"]), "recall-over-k-item")
    draw(plots.recall_over_k(open_), "recall-over-k-open")
    draw(plots.score_bars(reader["electronics"], ("em", "f1", "has_ans_f1", "no_ans_f1")), "reader")
    draw(plots.score_bars(pipeline["electronics"], ("em", "f1", "has_ans_f1")), "pipeline")
    draw(plots.gap(pipeline["electronics"]), "gap")
    _, _, generated = (DOCS / "generation.md").read_text(encoding="utf-8").partition(SCORES)
    page = PAGE.format(
        generated=generated.partition("\n## ")[0].strip(),
        book=retrieval_table(book),
        item=retrieval_table(item["electronics"]),
        open=retrieval_table(open_),
        domains_retrieval=domains_table(item, ("recall@1", "recall@3", "mrr"), "hybrid", "bm25"),
        reader=reading_table(reader["electronics"]),
        pipeline=reading_table(pipeline["electronics"]),
        outcomes=outcomes_table(pipeline["electronics"]),
        domains_reading=reading_domains_table(reader, pipeline),
        made=made(book),
    )
    (DOCS / "results.md").write_text(page, encoding="utf-8")
    print(page)
    return 0


def draw(plot: Any, name: str) -> None:
    """Write a plot as a file that the page shows."""
    from eval.report.plots import to_svg

    folder = DOCS / "figures"
    folder.mkdir(exist_ok=True)
    (folder / f"{name}.svg").write_text(to_svg(plot.figure, name, ink=INK), encoding="utf-8")


def table(columns: Iterable[str], rows: Mapping[str, Iterable[str]]) -> str:
    columns = list(columns)
    lines = [f"| | {' | '.join(columns)} |", "| --- " * (len(columns) + 1) + "|"]
    lines += [f"| {name} | {' | '.join(cells)} |" for name, cells in rows.items()]
    return "\n".join(lines)


def shown(each: Mapping[str, Any], metric: str, *, interval: bool = False) -> str:
    value = each["metrics"].get(metric)
    if value is None:
        return "-"
    around = each["intervals"].get(metric) if interval else None
    return f"{value:.3f}" + ("" if around is None else f" [{around[0]:.2f}, {around[1]:.2f}]")


def retrieval_table(summary: Mapping[str, Any]) -> str:
    columns = ("recall@1", "recall@3", "recall@5", "recall@10", "mrr", "answer_recall@3")
    counts = next(iter(summary["systems"].values()))["counts"]
    rows = {
        name: [shown(each, metric, interval=metric == "mrr") for metric in columns]
        for name, each in {**summary["systems"], **summary["references"]}.items()
    }
    return (
        f"{counts['answerable']} questions with an answer ({counts['unanswerable']} without are "
        f"left out); candidates: median {counts['candidates_median']:g}, at most "
        f"{counts['candidates_max']}.\n\n{table(columns, rows)}"
    )


def domains_table(
    summaries: Mapping[str, Any], metrics: Iterable[str], first: str, second: str
) -> str:
    metrics = list(metrics)
    rows = {}
    for domain, summary in summaries.items():
        cells = [str(summary["systems"][first]["counts"]["answerable"])]
        for metric in metrics:
            shares = [
                shown(group[name], metric)
                for group, name in (
                    (summary["references"], "random"),
                    (summary["systems"], second),
                    (summary["systems"], "dense"),
                    (summary["systems"], first),
                )
            ]
            cells.append(" / ".join(shares))
        p = next(
            each["p_holm"]
            for each in summary["comparisons"]
            if each["metric"] == "mrr" and {each["a"], each["b"]} == {first, second}
        )
        rows[domain] = [*cells, f"{p:.3f}"]
    heads = [f"{metric}: random / {second} / dense / {first}" for metric in metrics]
    return table(["questions", *heads, f"p, {first} against {second} (MRR, Holm)"], rows)


def reading_table(summary: Mapping[str, Any]) -> str:
    entries = {**summary["systems"], **summary["references"]}
    columns = [
        metric
        for metric in (*summary["headline"], "forced_has_ans_f1", "has_ans_sas", "retrieved")
        if any(each["metrics"].get(metric) is not None for each in entries.values())
    ]
    columns = list(dict.fromkeys(columns))
    rows = {
        name: [shown(each, metric, interval=metric == "f1") for metric in columns]
        for name, each in entries.items()
    }
    measures = [
        f"{name}: expected calibration error {each['measures']['ece']:.3f}, area under the "
        f"risk-coverage curve {each['measures']['aurc']:.3f}, best F1 at any threshold "
        f"{each['measures']['best_f1']:.3f}."
        for name, each in summary["systems"].items()
    ]
    return "\n".join([table(columns, rows), "", *measures])


def outcomes_table(summary: Mapping[str, Any]) -> str:
    from eval.runs.wording import OUTCOMES

    outcomes = summary["systems"]["pipeline"]["details"]["outcomes"]
    rows = {
        OUTCOMES[name]: [
            str(each["questions"]),
            f"{each['share']:.1%}",
            f"{each['loss']:.3f}",
            f"{each['gap']:+.3f}",
        ]
        for name, each in outcomes.items()
    }
    return table(["questions", "share", "F1 lost", "F1 below the reader alone"], rows)


def reading_domains_table(reader: Mapping[str, Any], pipeline: Mapping[str, Any]) -> str:
    rows = {}
    for domain in reader:
        alone = reader[domain]["systems"]["reader"]
        whole = pipeline[domain]["systems"]["pipeline"]
        empty = reader[domain]["references"]["always_empty"]
        human = reader[domain]["references"]["human"]
        rows[domain] = [
            str(alone["counts"]["questions"]),
            shown(alone, "em"),
            shown(alone, "f1", interval=True),
            shown(whole, "f1", interval=True),
            shown(whole, "f1@3"),
            shown(empty, "f1"),
            shown(human, "f1"),
        ]
    columns = (
        "questions",
        "EM alone",
        "F1 alone",
        "F1 pipeline",
        "best of 3",
        "always empty",
        "human",
    )
    return table(columns, rows)


def made(summary: Mapping[str, Any]) -> str:
    how = summary["made_with"]
    versions = ", ".join(f"{name} {number}" for name, number in how["versions"].items())
    return (
        f"Seed {how['seed']}; {summary['resampling']['resamples']:,} resamples by item; {versions}."
    )


SCORES = "## Scores of the bundled generator\n"
PAGE = """\
# Results on real data

Written by `python -m benchmarks.book_figures`: every number below was printed by that command.
Data: the test splits of SubjQA (Bjerva et al., 2020), as `qa-eval` reads them. The retrievers, the
reader and the pipeline are those that users run, with default settings. In brackets: 95 %
intervals, items resampled. {made}

A question that no annotator could answer has no gold review. Retrieval scores leave it out; for a
reader it is right to abstain.

## Recall over k (the book's figure 7-9)

The depth is 20; the default for users is 10. The depth changes the scores that hybrid retrieval
joins, and with them its ranking a little (`python -m benchmarks.retrieval_electronics` measures
at 10).

This is the book's setting (the item's reviews in the test split; the same question about an item
is asked once), but with answerable questions only: the book counts unanswerable questions as
hits. Random order is nearly as good, because a question has a median of two or three candidates.

<!-- not run: needs SubjQA, which is not bundled -->
```bash
qa-eval retriever --dataset subjqa/electronics --split test --scope item-split \\
    --aggregate --retriever-mode all
```

![Recall over k, book's setting](figures/recall-over-k-book.svg)

{book}

A harder setting: all of an item's reviews are candidates.

<!-- not run: needs SubjQA, which is not bundled -->
```bash
qa-eval retriever --dataset subjqa/electronics --split test --scope item --retriever-mode all
```

![Recall over k, all of an item's reviews](figures/recall-over-k-item.svg)

{item}

All reviews of all items are candidates. The questions do not name the product, so this setting is
partly ill-posed.

<!-- not run: needs SubjQA, which is not bundled -->
```bash
qa-eval retriever --dataset subjqa/electronics --split test --scope open --retriever-mode all
```

![Recall over k, all reviews](figures/recall-over-k-open.svg)

{open}

Four domains, all of an item's reviews as candidates:

{domains_retrieval}

## The reader, given the gold review

<!-- not run: needs SubjQA, which is not bundled -->
```bash
qa-eval reader --dataset subjqa/electronics --split test
```

![The reader compared with trivial readers and people](figures/reader.svg)

{reader}

## The reader alone against the whole pipeline (the book's figure 7-12)

<!-- not run: needs SubjQA, which is not bundled -->
```bash
qa-eval pipeline --dataset subjqa/electronics --split test --scope item
```

![Reader alone and pipeline](figures/pipeline.svg)

{pipeline}

Where the pipeline loses F1:

![From the reader alone to the pipeline](figures/gap.svg)

{outcomes}

SubjQA's labels are about one review. Another review of the item may well answer a question that
this review does not answer; such an answer counts as wrong here. The scores of the pipeline on
unanswerable questions are therefore too low.

## Four domains

{domains_reading}

## Generated answers

Measured separately; copied from
[generation.md](generation.md#scores-of-the-bundled-generator).

{generated}

## Elsewhere

- [Adaptation](adaptation.md#results): its gain on a domain, and its cost on general questions.
- [The reader as a ranker](ranking.md#measured).
- [Compression](../benchmarks/compression.md): accuracy, size and time of the reader in every
  precision.
"""

if __name__ == "__main__":
    sys.exit(main())
