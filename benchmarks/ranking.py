"""What learning from labels buys in ranking: SubjQA, all of an item's reviews, test splits.

    python -m benchmarks.ranking --encoder my-encoder --ranker my-ranker
    python -m benchmarks.ranking --domain electronics --encoder my-encoder

Every review of an item is put in order by BM25, by the bundled encoder over whole reviews, by
another encoder over passages (60 words, 15 shared; a review is as good as its best passage), and by
a cross-encoder over question and review. Ties count against the gold review.

Half of the candidates are reviews that the training split asks about, and the gold review of a test
question is rarely one of those (3 to 14 %). A model that has learnt from them could know that and
nothing else. So everything is measured twice: with all candidates, and without those.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean

import numpy as np

from eval.report.tables import print_table
from eval.runs.paired import Resampling, compare_pairs
from eval.runs.run import Scores
from qa_system.config import load_settings
from qa_system.datasets.dataset import Dataset, read_dataset
from qa_system.labels import is_answered
from qa_system.models.locate import locate
from qa_system.records import Label, Review
from qa_system.retrievers.encoders import load_encoder
from qa_system.texts.passages import split as split_text
from qa_system.training.negatives import ranked_by_bm25

DATA = Path(os.environ.get("QA_DATA", Path(__file__).parents[2] / "shared" / "data")) / "subjqa"
DOMAINS = ("electronics", "grocery", "restaurants", "tripadvisor")
METRICS = ("recall@1", "mrr")
ALL, UNLEARNT = "all candidates", "without reviews of the training split"

Pools = Sequence[tuple[Label, Sequence[Review]]]
Scored = list[np.ndarray]
"""For each question its candidates' scores, in their order."""


def main(arguments: list[str] | None = None) -> int:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--domain", action="append", choices=DOMAINS, help="none: all four")
    parser.add_argument("--split", default="test", choices=("dev", "test"))
    parser.add_argument("--encoder", help="what `qa train retriever` or `qa export` wrote")
    parser.add_argument("--ranker", help="what `qa train ranker` wrote")
    chosen = parser.parse_args(arguments)
    if not DATA.is_dir():
        print(f"SubjQA is not at {DATA}: set QA_DATA.", file=sys.stderr)
        return 0
    clusters: list[str] = []
    columns: dict[str, dict[str, list[list[float]]]] = {ALL: {}, UNLEARNT: {}}
    domains = chosen.domain or DOMAINS
    for domain in domains:
        data = read_dataset(DATA / domain)
        pools = pools_of(data, chosen.split)
        learnt = {label.review_id for label in data.labels_of("train")}
        clusters += [f"{domain} {label.item_id}" for label, _ in pools]
        systems = {"bm25": by_bm25(pools), "bundled encoder": by_encoder(pools, "bundled:encoder")}
        if chosen.encoder:
            systems["--encoder"] = by_encoder(pools, chosen.encoder, max_words=60, overlap=15)
        if chosen.ranker:
            systems["--ranker"] = by_ranker(pools, chosen.ranker)
        systems["random"] = []
        for name, rows in columns.items():
            kept = [
                [name == ALL or each.id == label.review_id or each.id not in learnt for each in of]
                for label, of in pools
            ]
            here = {
                system: measured(pools, scored, kept) if scored else by_chance(kept)
                for system, scored in systems.items()
            }
            for system, found in here.items():
                rows.setdefault(system, []).extend(found)
            if len(domains) > 1:
                title = f"{domain}, {chosen.split}, {len(pools)} questions: {name}"
                print_table(title, _means(here), METRICS)
    for name, rows in columns.items():
        scores = {
            system: Scores(METRICS, np.array(found))
            for system, found in rows.items()
            if system != "random"
        }
        pairs = [
            (ours, theirs)
            for ours in scores
            for theirs in ("bm25", "bundled encoder")
            if ours.startswith("--")
        ]
        notes = [
            "{a} - {b}, {metric}: {difference:+.3f} [{low:+.3f}, {high:+.3f}], p = {p:.2f}".format(
                **each, low=each["interval"][0], high=each["interval"][1], p=each["p_permutation"]
            )
            for each in compare_pairs(pairs, scores, METRICS, Resampling(clusters))
        ]
        title = f"{', '.join(domains)}, {chosen.split}, {len(clusters)} questions: {name}"
        print_table(title, _means(rows), METRICS, notes)
    return 0


def pools_of(data: Dataset, split: str) -> Pools:
    """Return each answerable question of a split with all reviews of its item."""
    of_item: dict[str | None, list[Review]] = defaultdict(list)
    for review in data.reviews:
        of_item[review.item_id].append(review)
    asked = [label for label in data.labels_of(split) if is_answered(label)]
    return [(label, of_item[label.item_id]) for label in asked]


def by_bm25(pools: Pools) -> Scored:
    """Rank as the embedded store does; what it does not find comes last."""
    texts = {review.text: review.item_id for _, pool in pools for review in pool}
    asked = [(label.question, label.item_id) for label, _ in pools]
    found = ranked_by_bm25(texts, asked, max(len(pool) for _, pool in pools))
    places = [{text: place for place, text in enumerate(found[each])} for each in asked]
    return [
        np.array([-place.get(review.text, len(pool)) for review in pool], float)
        for place, (_, pool) in zip(places, pools, strict=True)
    ]


def by_encoder(
    pools: Pools, model: str, *, max_words: int | None = None, overlap: int = 0
) -> Scored:
    """Rank by the best passage's dot product with the question."""
    encoder = load_encoder(load_settings(overrides={"encoder.model": model}).encoder)
    texts = list({review.text: None for _, pool in pools for review in pool})
    cuts = [[text[a:b] for a, b in split_text(text, max_words, overlap)] for text in texts]
    vectors = encoder.encode_passages([passage for cut in cuts for passage in cut])
    ends = np.cumsum([len(cut) for cut in cuts])
    of = dict(zip(texts, np.split(vectors, ends[:-1]), strict=True))
    questions = encoder.encode_questions([label.question for label, _ in pools])
    return [
        np.array([float((of[review.text] @ question).max()) for review in pool])
        for question, (_, pool) in zip(questions, pools, strict=True)
    ]


def by_ranker(pools: Pools, model: str) -> Scored:
    """Rank by a cross-encoder's logit; in bf16 where the hardware multiplies it."""
    import torch

    from qa_system.models.inference import choose_torch_device, choose_torch_precision
    from qa_system.rankers.cross_encoder import load_cross_encoder

    device = choose_torch_device("auto")
    bf16 = "bfloat16" in str(choose_torch_precision("auto", device))
    cross_encoder = load_cross_encoder(locate(model), str(device))
    pairs = list({(label.question, review.text): None for label, of in pools for review in of})
    with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
        logits = cross_encoder.predict(pairs, activation_fn=torch.nn.Identity()).tolist()
    score = dict(zip(pairs, logits, strict=True))
    return [
        np.array([score[label.question, review.text] for review in pool]) for label, pool in pools
    ]


def measured(pools: Pools, scored: Scored, kept: Sequence[Sequence[bool]]) -> list[list[float]]:
    """Return each question's metrics among the candidates that are kept."""
    rows = []
    for (label, pool), scores, counts in zip(pools, scored, kept, strict=True):
        is_gold = np.array([review.id == label.review_id for review in pool])
        ahead = scores[~is_gold & np.array(counts)] >= scores[is_gold][0]
        rank = 1 + int(ahead.sum())
        rows.append([float(rank == 1), 1 / rank])
    return rows


def by_chance(kept: Sequence[Sequence[bool]]) -> list[list[float]]:
    """Return the expected metrics of a random order."""
    sizes = [sum(counts) for counts in kept]
    return [[1 / size, fmean(1 / place for place in range(1, size + 1))] for size in sizes]


def _means(rows: Mapping[str, Sequence[Sequence[float]]]) -> dict[str, dict[str, float]]:
    return {
        system: dict(zip(METRICS, map(fmean, zip(*found, strict=True)), strict=True))
        for system, found in rows.items()
    }


if __name__ == "__main__":
    sys.exit(main())
