"""How the labels of `data/gold` were made of two annotators' folders.

    python -m benchmarks.labelling FOLDER agreement
    python -m benchmarks.labelling FOLDER disagreements
    python -m benchmarks.labelling FOLDER build --out data/gold

FOLDER has `sample/` and `subjqa/` with `NAME.md` (the reviews of an item, numbered, and questions)
and `NAME.key.json` (their ids), and an annotator's labels in `a/` and in `b/`: `NAME.json`.
`disagreements` writes what has to be decided to `adjudicate/`: `NAME.md` to read, and
`decisions.json` to fill in; decisions that were made before are kept. `build` takes a mention as
both annotators have it, or as it was decided.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

from qa_system.consensus.verdict import verdict_of
from qa_system.datasets.dataset import read_dataset
from qa_system.datasets.mentions import hash_of
from qa_system.records import Review

ROOT = Path(__file__).parents[1]
DATA = Path(os.environ.get("QA_DATA", ROOT.parent / "shared" / "data")) / "subjqa"
PARTS = ("sample", "subjqa")


@dataclass(frozen=True)
class Asked:
    """A question with both annotators' labels: review number -> mention."""

    part: str
    name: str
    number: str
    question: str
    key: Mapping[str, Any]
    a: Mapping[str, Any]
    b: Mapping[str, Any]

    @property
    def place(self) -> str:
        return f"{self.part}/{self.name}/{self.number}"

    def mentions(self, who: str) -> dict[str, dict[str, Any]]:
        return {each["review"]: each for each in getattr(self, who)["mentions"]}

    def partition(self, who: str) -> dict[str, set[str]]:
        """Return point -> the reviews that make it."""
        found: dict[str, set[str]] = {}
        for review, each in self.mentions(who).items():
            found.setdefault(each.get("point") or "", set()).add(review)
        return found


def asked(folder: Path, part: str) -> Iterator[Asked]:
    """Read the questions that both annotators have labelled."""
    for path in sorted((folder / part).glob("*.key.json")):
        name = path.name.removesuffix(".key.json")
        both = [folder / who / part / f"{name}.json" for who in "ab"]
        if not all(each.is_file() for each in both):
            print(f"{part}/{name}: not labelled twice yet", file=sys.stderr)
            continue
        key = json.loads(path.read_text())
        a, b = (json.loads(each.read_text())["questions"] for each in both)
        for number, question in key["questions"].items():
            yield Asked(part, name, number, question, key, a[number], b[number])


def kappa(pairs: Iterable[tuple[object, object]]) -> float:
    """Return Cohen's kappa of two annotators (Cohen, 1960); 1 where both always say the same.

    >>> kappa([(1, 1), (1, 0), (0, 0), (0, 0)])
    0.5
    """
    said = list(pairs)
    n = len(said)
    agreed = sum(one == other for one, other in said) / n
    ones, others = Counter(one for one, _ in said), Counter(other for _, other in said)
    chance = sum(ones[value] * others[value] for value in ones) / n**2
    return 1.0 if chance == 1 else (agreed - chance) / (1 - chance)


def pairwise_f1(one: Iterable[set[str]], other: Iterable[set[str]]) -> tuple[int, int, int]:
    """Count pairs that both put together, and those that each does: F1 is 2 * both / (one + other).

    >>> pairwise_f1([{"r1", "r2"}, {"r3"}], [{"r1", "r2", "r3"}])
    (1, 1, 3)
    """
    pairs = [
        {pair for group in groups for pair in combinations(sorted(group), 2)}
        for groups in (one, other)
    ]
    return len(pairs[0] & pairs[1]), len(pairs[0]), len(pairs[1])


def agreement(questions: list[Asked]) -> dict[str, float]:
    """Compare the two annotators."""
    mentioned, stances, polarities, verdicts = [], [], [], []
    together = [0, 0, 0]
    for each in questions:
        a, b = each.mentions("a"), each.mentions("b")
        mentioned += [(review in a, review in b) for review in each.key["reviews"]]
        both = sorted(a.keys() & b.keys())
        polarities += [(a[review]["polarity"], b[review]["polarity"]) for review in both]
        if each.a["polar"] and each.b["polar"]:
            stances += [(a[review]["stance"], b[review]["stance"]) for review in both]
            verdicts.append((verdict(a), verdict(b)))
        if each.part == "sample":
            groups = [[g & set(both) for g in each.partition(who).values()] for who in "ab"]
            together = [x + y for x, y in zip(together, pairwise_f1(*groups), strict=True)]
    found = {
        "questions": len(questions),
        "polar": sum(each.a["polar"] for each in questions),
        "polar, agreed": sum(each.a["polar"] == each.b["polar"] for each in questions),
        "pairs of question and review": len(mentioned),
        "mentions of a": sum(one for one, _ in mentioned),
        "mentions of b": sum(other for _, other in mentioned),
        "kappa of mentions": kappa(mentioned),
        "kappa of stances": kappa(stances),
        "kappa of polarities": kappa(polarities),
        "verdicts, agreed": sum(one == other for one, other in verdicts) / len(verdicts),
        "kappa of verdicts": kappa(verdicts),
    }
    if together[1] + together[2]:
        found["F1 of pairs with one point"] = 2 * together[0] / (together[1] + together[2])
    return found


def verdict(mentions: Mapping[str, Mapping[str, Any]]) -> str | None:
    found = verdict_of([each["stance"] for each in mentions.values()], least=1)
    return None if found is None else found.answer


def disagreements(each: Asked) -> dict[str, Any]:
    """Return what has to be decided of a question: what -> the annotators' labels."""
    a, b = each.mentions("a"), each.mentions("b")
    open_: dict[str, Any] = {}
    if each.a["polar"] != each.b["polar"]:
        open_["polar"] = [each.a["polar"], each.b["polar"]]
    for review in sorted(a.keys() | b.keys(), key=lambda name: int(name[1:])):
        one, other = a.get(review), b.get(review)
        if one is None or other is None:
            open_[f"{review} keep"] = [one is not None, other is not None]
            continue
        open_ |= {
            f"{review} {what}": [one[what], other[what]]
            for what in ("stance", "polarity")
            if one[what] != other[what]
        }
        if one["quote"] not in other["quote"] and other["quote"] not in one["quote"]:
            open_[f"{review} quote"] = ["a", "b"]
    if each.part == "sample":
        both = a.keys() & b.keys()
        groups = [
            {frozenset(g & both) for g in each.partition(who).values()} - {frozenset()}
            for who in "ab"
        ]
        if groups[0] != groups[1]:
            open_["points"] = ["a", "b"]
    return open_


def write_disagreements(folder: Path, questions: list[Asked]) -> None:
    """Write what has to be decided, to read and to fill in."""
    target = folder / "adjudicate"
    target.mkdir(exist_ok=True)
    file = target / "decisions.json"
    decided = json.loads(file.read_text()) if file.is_file() else {}
    forms, pages = {}, {}
    for each in questions:
        what = disagreements(each)
        if not what:
            continue
        forms[each.place] = {name: decided.get(each.place, {}).get(name) for name in what}
        page = pages.setdefault(f"{each.part}-{each.name}", [])
        page.append(f"\n## {each.number}. {each.question}\n")
        page += [f"- {name}: a {one}, b {other}" for name, (one, other) in what.items()]
        concerned = {name.split()[0] for name in what if name != "polar"}
        for who in "ab":
            for review, own in each.mentions(who).items():
                if review in concerned or "points" in concerned:
                    labels = " ".join(str(own.get(k)) for k in ("stance", "polarity", "point"))
                    point = getattr(each, who).get("points", {}).get(own.get("point"), "")
                    page.append(f"  {who} {review}: {own['quote']!r} {labels} {point}")
    for name, lines in pages.items():
        part, _, item = name.partition("-")
        reviews = (folder / part / f"{item}.md").read_text().partition("\n## Questions")[0]
        (target / f"{name}.md").write_text("\n".join([*lines, "", reviews, ""]))
    file.write_text(json.dumps(forms, indent=1, ensure_ascii=False) + "\n")
    left = sum(value is None for form in forms.values() for value in form.values())
    print(f"{sum(map(len, forms.values()))} to decide in {len(forms)} questions, {left} left")


def built(each: Asked, decided: Mapping[str, Any], reviews: Mapping[str, Review]) -> dict[str, Any]:
    """Return the line of a question.

    Raises:
        ValueError: something is not decided, or a quote is not in its review.
    """
    if left := [what for what in disagreements(each) if decided.get(what) is None]:
        raise ValueError(f"{each.place}: not decided: {left}")
    a, b = each.mentions("a"), each.mentions("b")
    polar = decided.get("polar", each.a["polar"])
    mentions, points = [], _points(each, decided)
    for number in each.key["reviews"]:
        own = [one for one in (a.get(number), b.get(number)) if one is not None]
        if not own or not decided.get(f"{number} keep", True):
            continue
        review = reviews[each.key["reviews"][number]]
        if (first := decided.get(f"{number} quote", "a")) not in ("a", "b"):
            own.insert(0, {**own[0], "quote": first})
        elif first == "b":
            own.reverse()
        elif f"{number} quote" not in decided:
            own.sort(key=lambda one: len(one["quote"]))
        spans = dict.fromkeys(_span(one["quote"], review) for one in own)
        stance = decided.get(f"{number} stance", own[-1]["stance"])
        mention = {
            "review_id": review.id,
            "sha256": hash_of(review.content),
            "spans": [list(span) for span in spans],
            "stance": None if stance == "none" or not polar else stance,
            "polarity": decided.get(f"{number} polarity", own[-1]["polarity"]),
        }
        if points is not None:
            mention["point"] = points[number]
        mentions.append(mention)
    line = {
        "question_id": f"{each.name}:{each.number[1:]}",
        "item_id": each.key["item_id"],
        **({"domain": each.key["domain"]} if "domain" in each.key else {}),
        "question": each.question,
        "polar": polar,
        "reviews": len(each.key["reviews"]),
    }
    if points is not None:
        line["points"] = list(dict.fromkeys(one["point"] for one in mentions))
    return {**line, "mentions": mentions}


def _points(each: Asked, decided: Mapping[str, Any]) -> dict[str, str] | None:
    """Return the point of each review: as one annotator has it, or as decided."""
    if each.part != "sample":
        return None
    chosen = decided.get("points", "a")
    if isinstance(chosen, dict):
        return {review: label for label, own in chosen.items() for review in own}
    other = "b" if chosen == "a" else "a"
    names = getattr(each, chosen)["points"]
    found = {r: names[own["point"]] for r, own in each.mentions(chosen).items()}
    for point, own in each.partition(other).items():
        known = next((found[review] for review in sorted(own) if review in found), None)
        label = known or getattr(each, other)["points"][point]
        for review in own:
            found.setdefault(review, label)
    return found


def _span(quote: str, review: Review) -> tuple[int, int]:
    start = review.content.index(quote)
    return start, start + len(quote)


def reviews_of(part: str) -> dict[str, Review]:
    data = read_dataset("bundled:sample" if part == "sample" else DATA)
    return {review.id: review for review in data.reviews}


def main(arguments: list[str] | None = None) -> int:
    """Print agreement, write what has to be decided, or build the labels."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("step", choices=("agreement", "disagreements", "build"))
    parser.add_argument("--out", type=Path, default=ROOT / "data" / "gold")
    chosen = parser.parse_args(arguments)
    questions = {part: list(asked(chosen.folder, part)) for part in PARTS}
    if chosen.step == "disagreements":
        write_disagreements(chosen.folder, [each for own in questions.values() for each in own])
        return 0
    for part, own in questions.items():
        if chosen.step == "agreement" and own:
            print(f"\n{part}")
            for name, value in agreement(own).items():
                print(f"| {name} | {value if isinstance(value, int) else f'{value:.3f}'} |")
        elif own:
            decisions = json.loads((chosen.folder / "adjudicate" / "decisions.json").read_text())
            reviews = reviews_of(part)
            lines = [built(each, decisions.get(each.place, {}), reviews) for each in own]
            text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
            (chosen.out / f"{part}.jsonl").write_text(text)
            print(f"{part}: {len(lines)} questions")
    return 0


if __name__ == "__main__":
    sys.exit(main())
