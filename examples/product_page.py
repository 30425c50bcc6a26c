"""What a product page does: open the system once, then ask about the item that it shows."""

import sys
from typing import Literal

from qa_system import Answers, QASystem

QUESTIONS = [
    ("How is the zipper?", "jacket-drizzlecrest-shell"),
    ("Is it bright enough to work by?", "lamp-noctella-clamp"),
    ("Is it good for espresso?", "grinder-morrabean-40"),
    ("How is the sound?", "earbuds-pipstone-air"),
    ("Does it come with batteries?", "boardgame-saltmarsh-traders"),
]


def show(answers: Answers) -> None:
    print(f"\n{answers.question}  [{answers.item_id}]")
    if answers.verdict is not None and answers.mentions:
        print(f"  {answers.verdict}")
    print(
        f"  The reviews don't say ({answers.decision})."
        if answers.abstained
        else f"  {answers.spoken}"
    )
    for answer in answers.answers:
        if answer.generated:
            print(f"  {answer.text}  (written, support {answer.confidence:.0%})")
    for point in answers.points[:2]:
        print(f"  {'█' * round(20 * point.share):20}  {point.support}: {point.label}")
        for quote in point.quotes[:2]:
            print(f"    “{' '.join(quote.snippet.split())}”  ({quote.meta['stars']} stars)")
    milliseconds = 1000 * answers.timings["total"]
    print(f"  {answers.read} of {answers.reviews} reviews read in {milliseconds:.0f} ms")


def main(config: str, mode: Literal["extract", "generate", "auto"] = "extract") -> None:
    with QASystem.open(config, mode=mode) as system:
        for question, item_id in QUESTIONS:
            show(system.ask(question, item_id=item_id, top_k=2, mode=mode))


if __name__ == "__main__":
    main(*sys.argv[1:])  # configuration, mode
