import pytest

from qa_system.sources.aliases import ALIASES, find_columns

NAMES = {
    "item_id": ["item_id", "asin", "parent_asin", "product_id", "productId", "Clothing ID"],
    "text": ["text", "reviewText", "review_body", "Review Text", "body", "content", "comment"],
    "title": ["title", "summary", "headline", "Review Title", "review_headline"],
    "stars": ["stars", "overall", "rating", "score", "star_rating", "Rating", "reviews.rating"],
    "date": ["date", "reviewTime", "review_date", "timestamp", "unixReviewTime", "reviews.date"],
    "author": ["author", "reviewerName", "user_id", "reviewerID", "customer_id"],
    "review_id": ["review_id", "reviewId", "Review ID"],
}


@pytest.mark.parametrize(
    ("field", "name"), [(field, name) for field, names in NAMES.items() for name in names]
)
def test_a_column_is_known_by_its_name(field, name):
    assert find_columns(["x", name], []) == {field: name}


def test_a_fields_own_name_comes_first_and_then_the_order_of_the_names():
    names = ["summary", "reviewText", "text", "parent_asin", "asin", "title", "comment"]
    assert find_columns(names, []) == {"item_id": "asin", "text": "text", "title": "title"}
    assert find_columns(["unixReviewTime", "reviewTime"], []) == {"date": "reviewTime"}


def test_what_is_told_is_not_found_again():
    told = {"text": "summary"}
    assert find_columns(["summary", "headline", "reviewText"], [], told) == {"title": "headline"}


def test_a_rating_or_a_date_has_to_look_like_one():
    rows = [
        {"score": "E10+", "rating": "five", "time": "3 days ago", "date_added": "2020-01-01"}
    ] * 3
    rows[2] = {**rows[2], "rating": "5"}
    assert find_columns(rows[0], rows) == {"stars": "score", "date": "date_added"}
    rows = [{"score": "bad", "rating": value} for value in ("good", "4", "5")]
    assert find_columns(rows[0], rows) == {"stars": "rating"}


def test_lists_and_objects_are_no_columns_of_ours():
    rows = [{"product": {"id": 1}, "sku": "S1", "comments": ["a"], "body": "b"}]
    assert find_columns(rows[0], rows) == {"item_id": "sku", "text": "body"}


def test_the_title_of_subjqa_is_the_product():
    names = ["domain", "title", "context", "question", "answers", "review_id", "id"]
    assert find_columns(names, []) == {
        "item_id": "title",
        "text": "context",
        "review_id": "review_id",
    }


def test_the_documentation_names_every_one(root):
    text = (root / "docs" / "indexing.md").read_text(encoding="utf-8")
    text = text.partition("## Which column is what")[2].partition("\n## ")[0]
    rows = [line.split("|") for line in text.splitlines() if line.startswith("| `")]
    for field, names in ALIASES.items():
        [row] = [row for row in rows if row[1].split()[0] == f"`{field}`"]
        own = field.replace("_", "")
        assert row[2].strip().split(", ") == [name for name in names if name != own]


@pytest.mark.parametrize("column", ["asin", "reviewText", "summary", "overall", "reviewTime"])
def test_one_value_that_is_a_list_hides_no_column(column):
    row = {
        "asin": "B00",
        "reviewText": "Good.",
        "summary": "Fine",
        "overall": 5.0,
        "reviewTime": "09 16, 2009",
    }
    sample = [row, {**row, column: []}, row, {**row, column: {"a": 1}}, row]
    assert column in find_columns(row, sample).values()
    mostly = [{**row, column: []}, {**row, column: [1]}, row]
    assert column not in find_columns(row, mostly).values()
