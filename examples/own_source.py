"""Reviews in a format of your own, written as JSON Lines for `qa-index run --source -`.

Here each review is a text file, FOLDER/ITEM/REVIEW.txt, whose first line is its number of stars.

.venv/bin/python examples/own_source.py FOLDER | .venv/bin/qa-index run --source - --store my-store
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any


def reviews(folder: Path) -> Iterator[dict[str, Any]]:
    """Read one review at a time: `review_id`, `item_id` and `text`, the rest becomes metadata."""
    for file in sorted(folder.glob("*/*.txt")):
        stars, _, text = file.read_text(encoding="utf-8").partition("\n")
        yield {
            "review_id": file.stem,
            "item_id": file.parent.name,
            "text": text,
            "stars": int(stars),
        }


if __name__ == "__main__":
    for review in reviews(Path(sys.argv[1])):
        print(json.dumps(review))
