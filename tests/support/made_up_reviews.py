"""Reviews of three kinds, with vectors that say which kind: for maps and their pages."""

from __future__ import annotations

import random

import numpy as np

from qa_system.records import Review

KINDS = ("zoom lens photo", "strap leather wrist", "battery charge hours")
HOSTILE = (
    '</script><script>document.title = "owned"</script><img src=x onerror=alert(1)> & "quoted"'
)


def reviews_of_kinds(count: int, seed: int = 3) -> tuple[list[Review], np.ndarray]:
    """Reviews, the first one hostile, and their vectors of 8 numbers."""
    draw = random.Random(seed)
    numbers = np.random.default_rng(seed)
    reviews = []
    vectors = numbers.normal(scale=0.2, size=(count, 8)).astype("f4")
    for at in range(count):
        kind = at % len(KINDS)
        vectors[at, kind] += 3
        words = draw.choices(KINDS[kind].split(), k=5)
        text = f"{' '.join(words)} number {at}"
        meta = {"stars": draw.randint(1, 5)} if at % 10 else {}
        reviews.append(Review(f"r{at}", f"item-{at % 20}", text, meta))
    reviews[0] = Review("<b>r0</b>", HOSTILE, f"{HOSTILE} {'long ' * 200}", {"stars": 1})
    return reviews, vectors
