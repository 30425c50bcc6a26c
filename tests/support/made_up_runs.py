"""Runs of a few hundred made-up questions, of the shape that evaluations give.

`tests/conftest.py` hands `made_up_run` to the tests.
"""

import random
from statistics import fmean

from eval.metrics.ranking import recall_at_random, reciprocal_rank_at_random
from eval.runs.run import Row, Run, System
from qa_system.metrics import exact_match, f1

HOSTILE = (
    "</script><script>document.title='owned'</script>",
    "<img src=x onerror=\"document.title='owned'\">",
    "<!-- <script> \u2028 {{ 7*7 }} {% raw %} $x_{$ &lt;b&gt; \x00 \u202e olleh",
)
OUTCOMES = ("right", "not_retrieved", "not_ranked_first", "wrong_span", "wrong_no_answer")
KS = (1, 3, 5, 10, 20)
WORDS = ("battery", "lasts", "long", "screen", "bright", "cable", "feels", "cheap", "sound")


def made_up_run(kind="reader", systems=("ours",), questions=200, seed=13, data="d1"):
    """A run whose systems are the better, the earlier they are named; the seed moves answers."""
    labels = _labels(questions)
    make = _retrieved if kind == "retriever" else _answered
    built = {
        name: make(kind, labels, 0.75 - 0.12 * at, random.Random(f"{seed} {name}"))
        for at, name in enumerate(systems)
    }
    if kind == "retriever":
        baselines = {"random": _random_order(labels)}
        primary, headline = "recall@3", ("recall@1", "recall@3", "recall@10", "mrr")
    else:
        baselines = {"always_empty": _answered(kind, labels, 0.0, random.Random(0), abstains=True)}
        primary, headline = "f1", ("em", "f1", "has_ans_f1", "no_ans_em")
    made_with = {
        "command": f"qa-eval {kind} --dataset made-up",
        "data": {"path": "made-up", "split": "test", "sha256": data},
        "models": {"reader": {"name": "bundled:reader", "sha256": f"{seed:064x}"}},
        "seed": 13,
        "settings": {"reader": {"top_k": 3}, "retriever": {"mode": "hybrid", "top_k": seed}},
        "settings_sha256": "0" * 64,
        "versions": {"python": "3.11"},
    }
    return Run(kind, primary, headline, built, baselines, made_with)


def _labels(count):
    rng = random.Random(0)
    labels = []
    for at in range(count):
        text = " ".join(rng.choices(WORDS, k=6))
        hostile = HOSTILE[at // 50 % 3] if at % 50 == 7 else ""
        first = rng.choice(("how", "is", "what", "does"))
        labels.append(
            {
                "question_id": f"q{at}",
                "split": "test",
                "question": f"{first.title()} good is the {rng.choice(WORDS)}? {hostile}".strip(),
                "item_id": f"item{at // 3}",
                "review_id": f"review{at}",
                "references": () if rng.random() < 0.3 else (text, hostile or text.split()[0]),
                "cluster": f"item{at // 3}",
                "slices": {
                    "domain": rng.choice(("electronics", "grocery")),
                    "first_word": hostile or first,
                    "answerable": "yes",
                },
            }
        )
        labels[-1]["slices"]["answerable"] = "yes" if labels[-1]["references"] else "no"
    return labels


def _retrieved(kind, labels, skill, rng):
    rows = []
    for label in labels:
        rank = None
        if label["references"]:
            rank = 1
            while rank < 40 and rng.random() > skill * 0.5:
                rank += 1
            rank = rank if rank < 40 else None
        reviews = [f"other{at}" for at in range(1, 41)]
        if rank:
            reviews[rank - 1] = label["review_id"]
        answerable = bool(label["references"])
        scores = {f"recall@{k}": float(bool(rank and rank <= k)) for k in KS}
        scores |= {"mrr": 1 / rank if rank else 0.0}
        scores = {name: score if answerable else None for name, score in scores.items()}
        output = {
            "ranked": reviews,
            "gold": [label["review_id"]] if answerable else [],
            "answer_rank": rank,
            "candidates": 60,
        }
        rows.append(Row(**label, scores=scores, output=output))
    ranks = [row.output["answer_rank"] for row in rows if row.references]
    depth = list(range(1, 41))
    at = [fmean(bool(rank and rank <= k) for rank in ranks) for k in depth]
    curve = {"k": depth, "gold": at, "answer": [min(1.0, each * 1.08) for each in at]}
    return System(tuple(rows), counts=_counts(rows), details={"recall_at": curve})


def _random_order(labels):
    expected = {f"recall@{k}": recall_at_random(60, 1, k) for k in KS}
    expected["mrr"] = reciprocal_rank_at_random(60, 1, 40)
    rows = [
        Row(**label, scores={m: e if label["references"] else None for m, e in expected.items()})
        for label in labels
    ]
    curve = [min(1.0, k / 60) for k in range(1, 41)]
    return System(
        tuple(rows),
        details={"recall_at": {"k": list(range(1, 41)), "gold": curve, "answer": curve}},
    )


def _answered(kind, labels, skill, rng, abstains=False):
    rows = []
    for label in labels:
        references = label["references"]
        right = rng.random() < skill
        forced = references[0] if references and right else " ".join(rng.choices(WORDS, k=4))
        said = forced if bool(references) == right and not abstains else ""
        em, partly = exact_match(said, references), f1(said, references)
        confidence = min(1.0, max(0.0, rng.gauss(0.65 if em else 0.4, 0.2)))
        output = {
            "prediction": said,
            "forced": forced,
            "log_odds": 10 * (confidence - 0.5),
            "confidence": confidence,
        }
        scores = {
            "em": em,
            "f1": partly,
            "has_ans_em": em if references else None,
            "has_ans_f1": partly if references else None,
            "no_ans_em": None if references else em,
            "no_ans_f1": None if references else partly,
        }
        if kind == "pipeline":
            output |= {
                "ranked": [label["review_id"], "other1"],
                "answers": [
                    {"text": said, "review_id": label["review_id"], "confidence": confidence},
                    {"text": "<b>bold</b>", "review_id": "other1", "confidence": 0.1},
                ],
                "outcome": "right" if em else rng.choice(OUTCOMES[1:]),
            }
        rows.append(Row(**label, scores=scores, output=output))
    steps = [at / 20 for at in range(1, 21)]
    details = {
        "risk_coverage": {"coverage": steps, "risk": [0.1 + 0.5 * at**2 for at in steps]},
        "reliability": {
            "confidence": steps[1::2],
            "accuracy": [min(1.0, at**1.4 + 0.05) for at in steps[1::2]],
            "share": [0.1] * 10,
        },
        "thresholds": {
            "threshold": [10 * at - 5 for at in steps],
            "em": [0.5 - (at - 0.4) ** 2 for at in steps],
            "f1": [0.6 - (at - 0.45) ** 2 for at in steps],
        },
    }
    measures = {"best_em": 0.5, "best_f1": 0.6, "best_em_threshold": -1.0}
    measures |= {"best_f1_threshold": -0.5, "ece": 0.071, "aurc": 0.31}
    if abstains:
        details, measures = {}, {}
    elif kind == "pipeline":
        details["outcomes"] = {
            outcome: {
                "questions": len(of := [row for row in rows if row.output["outcome"] == outcome]),
                "share": len(of) / len(rows),
                "loss": sum(1 - row.scores["f1"] for row in of) / len(rows),
                "gap": sum(rng.uniform(-0.1, 0.6) for _ in of) / len(rows),
            }
            for outcome in OUTCOMES
        }
    return System(tuple(rows), measures=measures, counts=_counts(rows), details=details)


def _counts(rows):
    have = sum(row.answerable for row in rows)
    return {"questions": len(rows), "answerable": have, "unanswerable": len(rows) - have}
