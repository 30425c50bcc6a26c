"""The reader against transformers-haystack's, ten reviews a question, one thread.

    python -m benchmarks.reader                   # the bars, on 20 questions
    python -m benchmarks.reader --questions 60

Every peer has the same checkpoint, the same questions of SubjQA electronics test, the same ten
reviews, one thread. They take turns question by question in one process, so that a busy machine
slows all of them; a question's ratio is one of CPU seconds, and the median over questions is
printed. `plain` is what a newcomer would write with transformers: a forward pass for each window,
a nested loop over spans; the fp32 reader has to return the same answers.

transformers-haystack is told to compute in fp32. Left alone it takes the file's fp16, four times
slower on a CPU without fp16 arithmetic, and every bar would be passed without merit.
"""

from __future__ import annotations

import argparse
import os
import random
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from statistics import median
from time import process_time
from typing import Any

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["HAYSTACK_TELEMETRY_ENABLED"] = "False"
os.environ["TOKENIZERS_PARALLELISM"] = "false"

SHARED = Path(__file__).parents[2] / "shared"
DATA = Path(os.environ.get("QA_DATA", SHARED / "data")) / "subjqa" / "electronics"
CHECKPOINT = SHARED / "models" / "reader-seed"
REVIEWS = 10
BARS = {"fp32": 2.5, "int8": 5.0}

Answer = tuple[str, str]
Peer = Callable[[str, list[Any]], Answer]


def main(arguments: list[str] | None = None) -> int:
    """Print the table; give 1 if a bar is missed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--questions", type=int, default=20)
    parser.add_argument("--checkpoint", type=Path, default=CHECKPOINT)
    chosen = parser.parse_args(arguments)
    for place in (DATA, chosen.checkpoint):
        if not place.is_dir():
            print(f"{place} is not here: see benchmarks/README.md", file=sys.stderr)
            return 2

    import torch

    from eval.report.tables import print_table
    from qa_system.export.onnx import export_model

    torch.set_num_threads(1)
    asked = questions_with_reviews(chosen.questions)
    with tempfile.TemporaryDirectory() as folder:
        peers: dict[str, Peer] = {"transformers-haystack": stock_reader(chosen.checkpoint)}
        for precision in ("fp32", "int8"):
            export_model(
                chosen.checkpoint, Path(folder, precision), task="reader", precision=precision
            )
            peers[precision] = our_reader(Path(folder, precision))
        peers["plain"] = plain_reader(chosen.checkpoint)
        seconds: dict[str, list[float]] = {name: [] for name in peers}
        answers: dict[str, list[Answer]] = {name: [] for name in peers}
        for read in peers.values():
            read(*asked[0])
        for question, reviews in asked:
            for name, read in peers.items():
                start = process_time()
                answers[name].append(read(question, reviews))
                seconds[name].append(process_time() - start)
            print(".", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)

    stock = seconds["transformers-haystack"]
    ratio = {
        name: median(theirs / ours for theirs, ours in zip(stock, own, strict=True))
        for name, own in seconds.items()
    }
    same = {
        name: sum(a == b for a, b in zip(found, answers["plain"], strict=True)) / len(asked)
        for name, found in answers.items()
    }
    print_table(
        f"reader, {len(asked)} questions of {REVIEWS} reviews, one thread",
        {
            name: {
                "CPU s": median(seconds[name]),
                "times as fast": ratio[name],
                "bar": BARS.get(name),
                "answers as plain": same[name],
            }
            for name in peers
        },
        ["CPU s", "times as fast", "bar", "answers as plain"],
        ["CPU s: a question's median. The bar is for the times as fast."],
    )
    missed = [name for name, bar in BARS.items() if ratio[name] < bar]
    if same["fp32"] < 1:
        missed.append("fp32 answers")
    if missed:
        print(f"missed: {', '.join(missed)}", file=sys.stderr)
    return 1 if missed else 0


def questions_with_reviews(count: int) -> list[tuple[str, list[Any]]]:
    """Return questions over the test split, each with its gold review, its item's, then any."""
    from haystack import Document

    from qa_system.datasets.subjqa import read_subjqa

    data = read_subjqa(DATA)
    test = [label for label in data.labels if label.split == "test"]
    asked = []
    draw = random.Random(13)
    for label in test[:: max(len(test) // count, 1)][:count]:
        others = draw.sample(data.reviews, len(data.reviews))
        order = sorted(others, key=lambda r: (r.id != label.review_id, r.item_id != label.item_id))
        reviews = [Document(id=review.id, content=review.text) for review in order[:REVIEWS]]
        asked.append((label.question, reviews))
    return asked


def our_reader(folder: Path) -> Peer:
    """Read with `ExtractiveReader`, an answer forced."""
    from qa_system.readers.extractive import ExtractiveReader

    reader = ExtractiveReader(str(folder), threads=1, top_k=1)
    reader.warm_up()

    def read(question: str, reviews: list[Any]) -> Answer:
        [reading] = reader.read([question], [reviews])
        best = reading.candidates[0]
        return best.document.id, best.data

    return read


def stock_reader(folder: Path) -> Peer:
    """Read with transformers-haystack's reader, in its default settings but for the precision:
    it would compute in the fp16 of the file, which on a CPU is slower yet."""
    import torch
    from haystack.utils import ComponentDevice
    from haystack_integrations.components.readers.transformers import TransformersExtractiveReader

    reader = TransformersExtractiveReader(
        str(folder),
        device=ComponentDevice.from_str("cpu"),
        top_k=1,
        no_answer=False,
        model_kwargs={"dtype": torch.float32},
    )
    reader.warm_up()

    def read(question: str, reviews: list[Any]) -> Answer:
        best = reader.run(query=question, documents=reviews)["answers"][0]
        return best.document.id, best.data

    return read


def plain_reader(folder: Path, max_answer_length: int = 40) -> Peer:
    """Read as straightforwardly as transformers allows."""
    import torch
    from transformers import AutoModelForQuestionAnswering, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForQuestionAnswering.from_pretrained(folder, dtype=torch.float32).eval()

    def read(question: str, reviews: list[Any]) -> Answer:
        best = (-float("inf"), "", "")
        for review in reviews:
            windows = tokenizer(
                question,
                review.content,
                truncation="only_second",
                max_length=384,
                stride=128,
                return_overflowing_tokens=True,
                return_offsets_mapping=True,
            )
            for row in range(len(windows["input_ids"])):
                feeds = {
                    name: torch.tensor([windows[name][row]]) for name in tokenizer.model_input_names
                }
                with torch.inference_mode():
                    output = model(**feeds)
                start, end = output.start_logits[0].tolist(), output.end_logits[0].tolist()
                offsets, inside = windows["offset_mapping"][row], windows.sequence_ids(row)
                for first in range(len(start)):
                    for last in range(first, min(first + max_answer_length, len(start))):
                        if inside[first] == 1 and inside[last] == 1:
                            score = start[first] + end[last] - start[0] - end[0]
                            if score > best[0]:
                                text = review.content[offsets[first][0] : offsets[last][1]]
                                best = (score, review.id, text)
        return best[1], best[2]

    return read


if __name__ == "__main__":
    sys.exit(main())
