"""Made-up labels that a tiny reader learns in seconds: colours, and numbers of litres.

A review names a colour, or a number, or neither; the question asks for one. What the words of an
answer are is all that there is to learn.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from qa_system.datasets.jsonl import write_labels_jsonl
from qa_system.records import AnswerSpan, Label

ANSWERS = {
    "Which colour is it?": ("red", "blue", "green", "yellow"),
    "How many litres does it hold?": ("two", "three", "seven", "nine"),
}
BEFORE = ("It is", "We found it", "Mine came", "Honestly it was", "My friend got one that is")
AFTER = ("and works well", "but a bit loud", "and arrived late", "and my sister likes it", "too")


def labels_about(question: str, items: int, *, each: int = 4, name: str) -> list[Label]:
    """Labels about made-up items; every third review has no answer."""
    draw = random.Random(f"{question} {name}")
    return list(_labels(question, [f"{name}-{n}" for n in range(items)], each, draw))


def shuffled(labels: Sequence[Label], seed: int = 13) -> list[Label]:
    """The same reviews, each with a stretch of words that another draw chose."""
    draw = random.Random(seed)
    found = []
    for label in labels:
        words = label.context.split()
        word = draw.choice(words)
        start = label.context.index(word)
        wrong = AnswerSpan(word, start, start + len(word))
        found.append(replace(label, answers=(wrong,) if draw.random() < 0.6 else ()))
    return found


def save_tiny_reader(folder: Path, save_checkpoint: Any) -> Path:
    """A BERT of two layers, 32 wide, that has learnt to find numbers of litres."""
    import torch
    from transformers import BertConfig, BertModel

    from qa_system.training.reader.train import train_reader
    from qa_system.training.recipes import ReaderTraining

    torch.manual_seed(13)
    config = BertConfig(
        hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64
    )
    start = save_checkpoint(BertModel(config), folder / "start")
    question = "How many litres does it hold?"
    parts = {"train": 40, "dev": 8}
    for part, items in parts.items():
        labels = labels_about(question, items, name=f"general-{part}")
        write_labels_jsonl(labels, folder / f"{part}.jsonl")
    recipe = {
        "model": str(start),
        "train": [{"path": str(folder / "train.jsonl")}],
        "dev": [{"path": str(folder / "dev.jsonl")}],
        **RECIPE,
    }
    train_reader(ReaderTraining.model_validate(recipe), folder / "reader")
    return folder / "reader"


RECIPE = {
    "epochs": 8.0,
    "batch_size": 16,
    "learning_rate": 5e-3,
    "evaluations": 2,
    "max_seq_length": 64,
    "stride": 16,
    "negatives": {"same_item": 0, "other_item": 0},
    "precision": "fp32",
    "device": "cpu",
}


def _labels(question: str, items: Sequence[str], each: int, draw: random.Random) -> Iterator[Label]:
    for item in items:
        for number in range(each):
            answer = draw.choice(ANSWERS[question]) if (number + len(item)) % 3 else "fine"
            text = f"{draw.choice(BEFORE)} {answer} {draw.choice(AFTER)}, {item} {number}."
            start = text.index(f" {answer} ") + 1
            span = AnswerSpan(answer, start, start + len(answer))
            answers = () if answer == "fine" else (span,)
            yield Label(f"{item}-{number}", question, item, f"r-{item}-{number}", text, answers)
