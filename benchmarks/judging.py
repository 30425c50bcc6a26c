"""What the judge says of sentences, compared with labels.

    python -m benchmarks.judging                      # polarity
    python -m benchmarks.judging --ranking            # and AmazonKP: which sentences answer

`QA_DATA` names the folder of the research data.

Polarity: `data/judging/polarity.jsonl`, clauses labelled twice; those on which both agree count. No
item of them is in the pairs that the bundled judge learnt polarity from. The baseline is a lexicon
(`pip install vaderSentiment`), left out if it is not installed.
Ranking: all sentences of an item, ordered for a question. The sentence retriever's best are judged.
Intervals are those of 95 %, items (questions, for a ranking) resampled.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from time import process_time
from typing import Any

os.environ["HF_HUB_OFFLINE"] = "1"

import numpy as np
from numpy.typing import NDArray

ROOT = Path(__file__).parents[1]
PAIRS = ROOT / "data" / "judging" / "polarity.jsonl"
DATA = Path(os.environ.get("QA_DATA", ROOT.parent / "shared" / "data"))
RESAMPLES = 2000
JUDGED = (16, 32, 64, 200)
WEIGHTS = (0.1, 0.3, 0.5, 0.9)
NEUTRAL = 0.05
"""The lexicon's own bound between a neutral score and one that is not."""

Array = NDArray[Any]
Score = Callable[[Array, Array], float]


def main(arguments: list[str] | None = None) -> int:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", action="append", help="a judge; repeatable")
    parser.add_argument("--ranking", action="store_true", help="also AmazonKP's")
    chosen = parser.parse_args(arguments)
    models = chosen.model or ["bundled:judge"]
    if not (DATA / "subjqa").is_dir():
        print(f"SubjQA is not at {DATA}: set QA_DATA.", file=sys.stderr)
        return 2
    polarity(models)
    if chosen.ranking:
        if not (path := DATA / "amazonkp" / "dev.jsonl").is_file():
            print(f"AmazonKP is not at {path}.", file=sys.stderr)
            return 2
        ranking(models, [json.loads(line) for line in path.read_text().splitlines()])
    return 0


def polarity(models: Sequence[str]) -> None:
    """Print accuracy and macro-F1 of the judges, and of the lexicon."""
    from qa_system.judging import POLARITIES, Judge

    pairs = [pair for pair in _polarities() if "polarity" in pair.labels]
    wanted = np.array([int(np.argmax(pair.labels["polarity"])) for pair in pairs])
    items = np.array([pair.item_id for pair in pairs])
    found: dict[str, Array] = {
        "the most frequent": np.full(len(pairs), np.bincount(wanted).argmax())
    }
    if (lexicon := _lexicon()) is not None:
        found["vaderSentiment"] = np.array([lexicon(pair.text) for pair in pairs])
    for name in models:
        judged = Judge(name).judge([one.question for one in pairs], [[one.text] for one in pairs])
        found[name] = np.array([int(each.polarity[0].argmax()) for each in judged])
    counts = ", ".join(f"{np.sum(wanted == place)} {each}" for place, each in enumerate(POLARITIES))
    print(f"\npolarity of {len(pairs)} clauses of {len(set(items))} items: {counts}")
    print("| | accuracy | macro-F1 | " + " | ".join(f"F1, {each}" for each in POLARITIES) + " |")
    print("| --- " * (3 + len(POLARITIES)) + "|")
    for name, said in found.items():
        cells = [
            _shown(score(wanted, said), [score(wanted[rows], said[rows]) for rows in _drawn(items)])
            for score in (_accuracy, _macro_f1)
        ]
        cells += [f"{_f1(wanted == place, said == place):.3f}" for place in range(len(POLARITIES))]
        print(f"| {name} | {' | '.join(cells)} |")


def ranking(models: Sequence[str], rows: Sequence[dict[str, Any]]) -> None:
    """Print MAP and P@10 of the sentence retriever's order, and of the judged one."""
    from qa_system.config import EncoderSettings
    from qa_system.judging import Judge
    from qa_system.retrievers.encoders import load_encoder
    from qa_system.stores.sentences import SentenceQuery, columns_of, score

    encoder = load_encoder(EncoderSettings(threads=1))
    gold: list[Array] = []
    orders: dict[str, list[Array]] = {"words": [], "encoder": [], "hybrid": []}
    for row in rows:
        texts = [each["text"] for each in row["comments"]]
        right = {name for point in row["key_points"] for name in point["comment_ids"]}
        gold.append(np.array([each["comment_id"] in right for each in row["comments"]]))
        spans, joined = [], " ".join(texts)
        for text in texts:
            start = spans[-1][1] + 1 if spans else 0
            spans.append((start, start + len(text)))
        columns = columns_of(1, joined, spans, encoder.encode_passages(texts))
        question = encoder.encode_questions([row["question"]])[0]
        for name, weight in (("words", 1.0), ("encoder", 0.0), ("hybrid", 0.5)):
            query = SentenceQuery.of(row["question"], question, weight)
            orders[name].append(score(columns, query))
    took: dict[str, float] = {}
    for name in models:
        judge = Judge(name, threads=1)
        judge.warm_up()
        for most in JUDGED:
            spent, judged = [], []
            for row, scores in zip(rows, orders["hybrid"], strict=True):
                best = np.argsort(-scores, kind="stable")[:most]
                start = process_time()
                [one] = judge.judge([row["question"]], [[row["comments"][n]["text"] for n in best]])
                spent.append(process_time() - start)
                answers = np.zeros(len(scores))
                answers[best] = one.answers
                judged.append(answers)
            for weight in WEIGHTS:
                title = f"{name}, the best {most}, weight {weight:g}"
                took[title] = 1000 * float(np.median(spent))
                orders[title] = [
                    (1 - weight) * scores + weight * answers
                    for scores, answers in zip(orders["hybrid"], judged, strict=True)
                ]
    questions = np.arange(len(rows))
    print(f"\nranking the sentences of an item, {len(rows)} questions (AmazonKP)")
    print("| order | MAP | P@10 | MAP - hybrid's | P@10 - hybrid's | ms of one core |")
    print("| --- | --- | --- | --- | --- | --- |")
    measured = {
        name: [
            np.array([measure(-s, g) for s, g in zip(scores, gold, strict=True)])
            for measure in (_average_precision, _precision_at_10)
        ]
        for name, scores in orders.items()
    }
    for name, both in measured.items():
        gains = [one - base for one, base in zip(both, measured["hybrid"], strict=True)]
        cells = [f"{each.mean():.3f}" for each in both] + [
            _shown(gain.mean(), [gain[drawn].mean() for drawn in _drawn(questions)])
            for gain in gains
        ]
        print(f"| {name} | {' | '.join(cells)} | {took.get(name, 0):.0f} |")


def _polarities() -> list[Any]:
    from qa_system.datasets.dataset import read_dataset
    from qa_system.datasets.pairs import read_pairs

    sources = ["bundled:sample", *map(str, sorted((DATA / "subjqa").glob("*")))]
    reviews = {one.review_id: one.context for path in sources for one in read_dataset(path).labels}
    return read_pairs(PAIRS, reviews)


def _lexicon() -> Callable[[str], int] | None:
    try:
        analyzer = import_module("vaderSentiment.vaderSentiment").SentimentIntensityAnalyzer()
    except ImportError as error:
        print(f"vaderSentiment left out: {error}", file=sys.stderr)
        return None

    def say(text: str) -> int:
        score = analyzer.polarity_scores(text)["compound"]
        return 0 if score >= NEUTRAL else 1 if score <= -NEUTRAL else 2

    return say


def _drawn(groups: Array) -> list[Array]:
    """Return rows as resampling groups with replacement gives them."""
    names = np.unique(groups)
    rows = {name: np.flatnonzero(groups == name) for name in names}
    draw = np.random.default_rng(13)
    return [
        np.concatenate([rows[name] for name in draw.choice(names, len(names))])
        for _ in range(RESAMPLES)
    ]


def _shown(value: float, resampled: Sequence[float]) -> str:
    low, high = np.quantile(resampled, [0.025, 0.975])
    return f"{value:.3f} [{low:.3f}, {high:.3f}]"


def _accuracy(wanted: Array, found: Array) -> float:
    return float((wanted == found).mean())


def _macro_f1(wanted: Array, found: Array) -> float:
    return float(np.mean([_f1(wanted == each, found == each) for each in np.unique(wanted)]))


def _f1(wanted: Array, found: Array) -> float:
    return float(2 * (wanted & found).sum() / max((wanted.sum() + found.sum()), 1))


def _average_precision(costs: Array, right: Array) -> float:
    ranks = np.flatnonzero(right[np.argsort(costs, kind="stable")]) + 1
    return float((np.arange(1, len(ranks) + 1) / ranks).mean())


def _precision_at_10(costs: Array, right: Array) -> float:
    return float(right[np.argsort(costs, kind="stable")[:10]].mean())


if __name__ == "__main__":
    sys.exit(main())
