"""Twelve files in the shapes that public review files have, each indexed by one command.

All of them are made up, here; what they look like is all that they have in common with others.
"""

import csv
import gzip
import io
import json

import pytest
from typer.testing import CliRunner

from indexing.cli import app
from qa_system.config import StoreSettings
from qa_system.review_ids import stable_review_id
from qa_system.stores import open_store


def delimited(rows, delimiter=","):
    out = io.StringIO()
    csv.writer(out, delimiter=delimiter, lineterminator="\r\n").writerows(rows)
    return out.getvalue()


def lines(*objects):
    return "".join(json.dumps(each) + "\n" for each in objects)


TABS = delimited(
    [
        (
            *("marketplace", "customer_id", "review_id", "product_id", "product_title"),
            *("star_rating", "verified_purchase", "review_headline", "review_body", "review_date"),
        ),
        ("DE", "14", "R1", "B01", "Lampe", "5", "Y", "Tolle Lampe", "Hell genug.", "2015-08-31"),
        ("DE", "15", "R2", "B01", "Lampe", "1", "N", "Kaputt", "Nach 2 Tagen.", "2015-08-30"),
    ],
    "\t",
)
OLD_JSON = {
    "overall": 5.0,
    "verified": True,
    "reviewTime": "09 16, 2009",
    "reviewerID": "A3",
    "asin": "B02",
    "style": {"Color:": " red"},
    "reviewerName": "Ann",
    "reviewText": "Keeps tea hot for hours.",
    "summary": "Warm",
    "unixReviewTime": 1253059200,
}
NEW_JSON = {
    "rating": 4.0,
    "title": "Light",
    "text": "It weighs nothing.<br />And it &quot;folds&quot;.",
    "images": [],
    "asin": "B03",
    "parent_asin": "B03P",
    "user_id": "AE",
    "timestamp": 1588687728923,
    "helpful_vote": 0,
    "verified_purchase": True,
}
CLOTHES = delimited(
    [
        ("", "Clothing ID", "Age", "Title", "Review Text", "Rating", "Recommended IND"),
        (0, 1077, 33, "", "Love this dress!", 5, 1),
        (1, 1077, 34, "Some flaws", "Too long for me.", 3, 0),
        (2, 1078, 34, "No text", "", 3, 0),
    ]
)
FOOD = delimited(
    [
        ("Id", "ProductId", "UserId", "ProfileName", "Score", "Time", "Summary", "Text"),
        (1, "F1", "U1", "dell", 5, 1303862400, "Good", "My dog likes it."),
        (2, "F1", "U2", "ann", 1, 1346976000, "Not as told", "Salty, and small."),
        (3, "F2", "U1", "dell", 5, 1303862400, "Good", "My dog likes it."),
        (4, "F2", "U1", "dell", 5, 1303862400, "Good", "My dog likes it."),
    ]
)
PLACES = lines(
    {
        "review_id": "y1",
        "user_id": "u1",
        "business_id": "cafe",
        "stars": 4.0,
        "useful": 0,
        "text": "Good\n\ncoffee.",
        "date": "2016-03-09 00:00:00",
    },
    {
        "review_id": "y2",
        "user_id": "u2",
        "business_id": "cafe",
        "stars": 1.0,
        "useful": 3,
        "text": "Loud.",
        "date": "2018-01-30 23:07:38",
    },
)
CATALOGUE = delimited(
    [
        ("id", "name", "asins", "reviews.date", "reviews.rating", "reviews.text", "reviews.title"),
        ("AV1", "Reader", "B05,B06", "2017-01-13T00:00:00.000Z", "5", "Easy to read.", "Kindle"),
        ("AV1", "Reader", "B05,B06", "2017-01-12T00:00:00.000Z", "", "Slow.", ""),
    ]
)
WORDED_STARS = [
    {"sku": "S1", "content": "Sits well.", "score": "4.0 out of 5 stars", "author": "Bo"},
    {"sku": "S1", "content": "Squeaks.", "score": "2.0 out of 5 stars", "author": "Cy"},
    {"sku": "S2", "content": "Fine.", "score": "five", "author": "Di"},
]
FLOAT_IDS = "item_id,review_id,text\n100.0,1.0,Good.\n100.0,,Bad.\n200.0,3.0,So so.\n"
ONE_PRODUCT = "review,sentiment\nA fine film.,positive\nToo long.,negative\n"
LANGUAGES = lines(
    {"review_id": "de_1", "product_id": "p", "stars": "1", "review_body": "Größe passt nicht."},
    {"review_id": "ja_1", "product_id": "p", "stars": "5", "review_body": "とても良い商品です。"},
    {"review_id": "ar_1", "product_id": "p", "stars": "4", "review_body": "منتج ممتاز"},
)
WIDE = [
    ["item_id", "text", *(f"q{n}" for n in range(48))],
    ["w1", "All is said in the columns.", *(n / 2 for n in range(48))],
    ["w1", "Not in all of them.", *([""] * 47), "yes"],
]

FILES = {
    "tabs.tsv": (
        b"\xef\xbb\xbf" + TABS.encode(),
        [],
        {"written": 2},
        ("R1", "Hell genug.", "B01", {"stars": 5, "date": "2015-08-31", "title": "Tolle Lampe"}),
    ),
    "old.json.gz": (
        gzip.compress(lines(OLD_JSON, {**OLD_JSON, "asin": "B09", "overall": 1.0}).encode()),
        [],
        {"written": 2},
        (
            stable_review_id("B02", OLD_JSON["reviewText"], "Warm", "A3", "2009-09-16"),
            OLD_JSON["reviewText"],
            "B02",
            {
                "stars": 5,
                "date": "2009-09-16",
                "title": "Warm",
                "author": "A3",
                "reviewerName": "Ann",
                "style": {"Color:": " red"},
            },
        ),
    ),
    "new.jsonl": (
        lines(NEW_JSON).encode(),
        [],
        {"written": 1},
        (
            None,
            NEW_JSON["text"],
            "B03",
            {"stars": 4, "date": "2020-05-05T14:08:48.923000+00:00", "parent_asin": "B03P"},
        ),
    ),
    "clothes.csv": (
        CLOTHES.encode(),
        [],
        {"written": 2, "rejected": 1},
        (None, "Too long for me.", "1077", {"stars": 3, "title": "Some flaws", "Age": 34}),
    ),
    "food.csv": (
        FOOD.encode(),
        [],
        {"written": 4},
        (None, "Salty, and small.", "F1", {"stars": 1, "date": "2012-09-07", "author": "U2"}),
    ),
    "places.json": (
        PLACES.encode(),
        [],
        {"written": 2},
        ("y1", "Good\n\ncoffee.", "cafe", {"stars": 4, "date": "2016-03-09", "useful": 0}),
    ),
    "catalogue.csv": (
        CATALOGUE.encode(),
        [],
        {"written": 2},
        (None, "Easy to read.", "B05,B06", {"stars": 5, "date": "2017-01-13", "title": "Kindle"}),
    ),
    "worded-stars.json": (
        json.dumps(WORDED_STARS, indent=2).encode(),
        [],
        {"written": 3, "nulls": {"stars": 1}},
        (None, "Sits well.", "S1", {"stars": 4, "author": "Bo"}),
    ),
    "float-ids.csv": (
        FLOAT_IDS.encode(),
        [],
        {"written": 3},
        ("1", "Good.", "100", {}),
    ),
    "one-product.csv": (
        ONE_PRODUCT.encode(),
        ["--item", "the film"],
        {"written": 2},
        (None, "Too long.", "the film", {"sentiment": "negative"}),
    ),
    "languages.jsonl": (
        LANGUAGES.encode(),
        [],
        {"written": 3},
        ("ja_1", "とても良い商品です。", "p", {"stars": 5}),
    ),
    "wide-cp1252.csv": (
        delimited([*WIDE, ["w2", "Größe – naja.", *([""] * 48)]], ";").encode("cp1252"),
        [],
        {"written": 3},
        (None, "Größe – naja.", "w2", {}),
    ),
}


@pytest.mark.parametrize("name", FILES)
def test_it_is_indexed_by_one_command(tmp_path, name):
    data, flags, expected, (review_id, text, item_id, meta) = FILES[name]
    file = tmp_path / name
    file.write_bytes(data)
    store = tmp_path / "store"
    command = ["run", "--source", file, "--store", store, "--no-embed", "--json", *flags]
    done = CliRunner().invoke(app, [str(word) for word in command])
    assert done.exit_code == 0, done.output
    report = json.loads(done.stdout)
    outcomes = ("written", "updated", "unchanged", "duplicates", "rejected")
    assert {key: report[key] for key in outcomes} == dict.fromkeys(outcomes, 0) | {
        key: value for key, value in expected.items() if key in outcomes
    }
    assert report["nulls"] == expected.get("nulls", {})
    with open_store(StoreSettings(path=str(store))) as opened:
        assert opened.verify() == []
        condition = {"field": "meta.item_id", "operator": "==", "value": item_id}
        # A title is the first line.
        [found] = [
            each
            for each in opened.filter_documents(condition)
            if each.content.removeprefix(f"{each.meta.get('title')}\n") == text
        ]
    assert review_id in (None, found.id)
    assert found.meta | meta == found.meta


def test_there_are_twelve():
    assert len(FILES) == 12
