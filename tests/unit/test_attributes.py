"""Attributes: quantities in words, the file that names them, values from reviews, the table."""

import csv
import json
from pathlib import Path

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eval.tasks.attributes import (
    Compared,
    LabelledValue,
    agreement,
    is_right,
    measured,
    read_labelled,
)
from qa_system.attributes.contract import Contract, read_contract
from qa_system.attributes.extracting import Extraction, extract
from qa_system.attributes.quantities import numbers_in, quantities_in, unit_of
from qa_system.attributes.specification import Attribute, Specification, read_specification
from qa_system.attributes.table import COLUMNS, check_out, safe, write_table
from qa_system.errors import ConfigError, DataError, ModelError
from qa_system.opinions import Decision, Point, Quote
from qa_system.records import Answer, Answers

ROOT = Path(__file__).parents[2]
GOLD = ROOT / "data" / "gold" / "attributes.jsonl"


@pytest.mark.parametrize(
    ("text", "unit", "values"),
    [
        ("2.4 kg with everything, 2,100 g without", "g", [2400, 2100]),
        ("nineteen days the first time", "h", [456]),
        ("Charging took 2 h 10 over USB-C", "min", [120]),
        ("25–30 min, or 5 to 8 minutes", "min", [25, 30, 5, 8]),
        ("Six and a half hours, later half an hour", "h", [6.5, 0.5]),
        ('16" laptop, a 13-inch one', "inch", [16, 13]),
        ("€54, then 140 euros, never $20", "euro", [54, 140]),
        ("twenty-two weeks", "day", [154]),
        ("5'9\" and 170 lbs", "kg", [77.1107]),
        ("five of them, 1,100 m up", "g", []),
        ("version 2.4kg-a1b", "kg", [2.4]),
        ("", "kg", []),
    ],
)
def test_quantities_are_read_by_hand(text, unit, values):
    assert quantities_in(text, unit_of(unit)) == pytest.approx(values, rel=1e-5)


def test_numbers_without_a_unit_are_those_of_no_unit():
    assert numbers_in("from 2 to 5 players, 70 minutes, 54 euros, seven of us") == [2, 5, 7]


@given(st.decimals("0.01", "99999", places=2), st.sampled_from(["kg", "cm", "hours", "W", "GB"]))
def test_a_number_in_a_unit_is_that_number_in_it_wherever_it_stands(number, unit):
    assert quantities_in(f"I guess {number} {unit}, roughly", unit_of(unit)) == [float(number)]


@given(st.text("0123456789 .,-–½€kgtwo half a", max_size=40))
def test_any_text_is_read_without_an_error(text):
    assert all(value >= 0 for value in quantities_in(text, unit_of("kg")) + numbers_in(text))


@pytest.mark.parametrize(
    ("attribute", "error"),
    [
        ({}, "questions"),
        ({"questions": ["?"]}, "a question has no words"),
        ({"questions": ["Is it big?", "Is it big?"]}, "stands there twice"),
        ({"questions": ["How big is it?"], "unit": "kg"}, "belong to the type number"),
        ({"questions": ["Big?"], "type": "number", "least": 2, "most": 1}, "least is above most"),
        ({"questions": ["How big?"], "most": 1}, "belong to the type number"),
        ({"questions": ["Big?"], "type": "number", "unit": "stone"}, "'stone' is not known"),
        ({"questions": ["Which?"], "type": "one_of"}, "one_of, which needs them"),
        ({"questions": ["Which?"], "values": ["a"]}, "values belong to the type one_of"),
        ({"questions": ["How big?"], "type": "yes_no"}, "yes or no does not answer 'How big?'"),
        ({"questions": ["Which?"], "type": "one_of", "values": ["a", "a"]}, "'a' stands there"),
        ({"questions": ["Which?"], "color": "red"}, "color: no such key"),
        ({"questions": ["Which?"], "min_support": 0}, "min_support"),
    ],
)
def test_a_file_of_attributes_that_is_wrong_says_what_is(attribute, error, tmp_path):
    file = tmp_path / "attributes.yaml"
    file.write_text(json.dumps({"attributes": {"size": attribute}}))
    with pytest.raises(ConfigError) as caught:
        read_specification(file)
    assert error in str(caught.value)
    assert "size" in str(caught.value)


def test_the_file_that_ships_and_the_labels_are_of_the_same_attributes():
    specification = read_specification("sample")
    labels = read_labelled(GOLD, specification)
    items = {label.item_id for label in labels}
    wanted = {(item, name) for item in items for name in specification.of_item(item)}
    assert {(label.item_id, label.attribute) for label in labels} == wanted
    assert (len(items), len(labels), sum(bool(each.values) for each in labels)) == (14, 119, 94)
    told = agreement(labels)
    assert told["kappa_said"] == pytest.approx(0.9205, abs=1e-4)
    assert told["same_value"] == pytest.approx(87 / 94)


def answers(question, *points, abstained=False):
    """Answers to a question: of each point its stance, and (review, text, confidence) of each."""
    made, given_ = [], []
    for stance, quotes in points:
        own = tuple(
            Quote(review, "text", text, 0, len(text), text, {}) for review, text, _ in quotes
        )
        made.append(Point(own[0].text, len(own), 1.0, (0.0, 1.0), None, None, stance, own))
        given_ += [
            Answer(text, sure, review, "lamp", 0, len(text), text) for review, text, sure in quotes
        ]
    decision = Decision(0.2 if abstained else 0.9, 0.5)
    return Answers(question, "lamp", tuple(given_), decision, 9, points=tuple(made))


def test_two_thirds_of_the_reviews_decide_and_a_review_counts_once():
    attribute = Attribute(questions=("Is it quiet?", "Is it hushed?"), type="yes_no")
    first = answers("Is it quiet?", ("yes", [("r1", "so quiet", 0.6), ("r2", "quiet", 0.7)]))
    second = answers("Is it hushed?", ("no", [("r1", "not hushed", 0.9), ("r3", "hums", 0.8)]))
    found = extract(attribute, [first, second])
    assert (found.value, found.support, found.speaking) == ("yes", 2, 3)
    assert (found.confidence, [quote.review_id for quote in found.quotes]) == (0.7, ["r2", "r1"])
    third = answers("Is it hushed?", ("no", [("r3", "hums", 0.8), ("r4", "roars", 0.8)]))
    assert extract(attribute, [first, third]).value == "divided"


def test_numbers_are_converted_and_the_one_of_most_reviews_is_the_value():
    attribute = Attribute(questions=("How heavy is it?",), type="number", unit="kg")
    said = answers(
        "How heavy is it?",
        (None, [("r1", "2.4 kg", 0.9)]),
        (None, [("r2", "1000 g", 0.6), ("r3", "about one kilo", 0.5)]),
        (None, [("r4", "feels heavy", 0.8)]),
    )
    found = extract(attribute, [said])
    assert (found.value, found.support, found.speaking, found.confidence) == (1.0, 2, 3, 0.6)
    assert found.counts == {"1": 2, "2.4": 1}
    light = attribute.model_copy(update={"most": 0.9})
    assert extract(light, [said]).value is None
    heavy = attribute.model_copy(update={"least": 1.1})
    assert extract(heavy, [said]).counts == {"2.4": 1}


def test_one_of_reads_words_that_are_not_negated():
    attribute = Attribute(
        questions=("How loud is it?",),
        type="one_of",
        values={"loud": ("loud", "noisy"), "quiet": ("quiet",)},
    )
    said = answers(
        "How loud is it?",
        (None, [("r1", "not at all loud", 0.9), ("r2", "LOUD!", 0.6), ("r3", "loudly quiet", 0.7)]),
        (None, [("r4", "quiet, then noisy", 0.9), ("r5", "isn't quiet", 0.9)]),
    )
    found = extract(attribute, [said])
    assert (found.value, found.counts) == ("divided", {"quiet": 1, "loud": 1})


def test_words_are_those_of_the_point_that_most_reviews_make():
    attribute = Attribute(questions=("What colour is it?", "Which colours?"))
    first = answers("What colour is it?", (None, [("r1", "red", 0.9)]))
    second = answers("Which colours?", (None, [("r2", "dark green", 0.5), ("r3", "green", 0.6)]))
    found = extract(attribute, [first, second])
    assert (found.value, found.support, found.speaking) == ("green", 2, 3)


def test_a_value_that_is_not_sure_enough_is_not_given():
    attribute = Attribute(questions=("What colour is it?",), min_support=2)
    red = (None, [("r1", "red", 0.9)])
    assert extract(attribute, [answers("?", red)]).status == "unsure"
    assert extract(attribute, [answers("?", red, abstained=True)]).status == "unsure"
    nobody = [answers("?", abstained=True), answers("?", abstained=True)]
    assert extract(attribute, nobody).status == "unsure"
    assert extract(attribute, nobody, not_said=0.2).status == "unsure"
    nothing = extract(attribute, nobody, not_said=0.21)
    assert (nothing.status, nothing.value, nothing.share) == ("not_said", None, None)
    said = extract(Attribute(questions=("What colour is it?",)), [answers("?", red)])
    assert said.withheld_below(0.9) == said
    kept = said.withheld_below(0.91)
    assert (kept.status, kept.value, kept.support) == ("unsure", None, 1)


@given(st.text(max_size=20))
def test_no_cell_is_a_formula(text):
    cell = safe(text)
    assert not cell.lstrip().startswith(("=", "+", "-", "@"))
    assert cell.removeprefix("'") == text.removeprefix("'")


def test_the_table_has_every_row_and_what_shoppers_wrote_is_no_formula(tmp_path):
    journal, out = tmp_path / "a.csv.jsonl", tmp_path / "a.csv"
    quotes = [{"text": "=HYPERLINK(1)\nnow", "review_id": "-r1"}]
    rows = [
        {"item_id": "@lamp", "attribute": "size", "value": "=1+1", "status": "said", "share": 0.5}
        | {"confidence": 0.25, "support": 1, "speaking": 2, "quotes": quotes},
        {"item_id": "mug", "attribute": "cold", "value": -4.5, "status": "said", "quotes": []},
        {"item_id": "mug", "attribute": "x", "error": {"message": "too long"}},
    ]
    journal.write_bytes(b"".join(orjson.dumps(row) + b"\n" for row in rows))
    assert write_table(journal, out) == {"said": 2, "error": 1}
    head, first, second, third = csv.reader(out.read_text().splitlines())
    assert tuple(head) == COLUMNS
    assert first[:4] == ["'@lamp", "size", "'=1+1", ""]
    assert first[4:] == ["said", "1", "2", "0.500", "0.250", "'=HYPERLINK(1) now", "'-r1", ""]
    assert second[2] == "-4.5"
    assert third[-1] == "too long"
    with pytest.raises(ConfigError, match="Name it"):
        check_out(tmp_path / "a.xlsx")


def test_a_promise_is_kept_by_hand_and_is_of_what_it_was_fitted_with(tmp_path):
    fitted = Contract("abc", "labels", ((0.9, True),) * 40 + ((0.2, False),) * 40)
    fitted.write(tmp_path / "fit.json")
    again = read_contract(tmp_path / "fit.json", "abc")
    assert again == fitted
    # 0.92 ** 40 is below 0.05, and 0.95 ** 40 is not.
    assert again.threshold(0.08) == 0.9
    with pytest.raises(ConfigError, match=r"the lowest error that one keeps is 0\.08"):
        again.threshold(0.05)
    with pytest.raises(ConfigError, match="other attributes, settings or models"):
        read_contract(tmp_path / "fit.json", "abd")
    (tmp_path / "fit.json").write_text('{"format": 1, "outcomes": [[2, 1]]}')
    with pytest.raises(ModelError, match="qa-eval attributes --write FILE"):
        read_contract(tmp_path / "fit.json", "abc")


def test_precision_and_coverage_are_counted_by_hand():
    said = Extraction("yes", "said", 1, 1, (0, 1), 0.8)
    unsure, not_said = Extraction(None, "unsure"), Extraction(None, "not_said")
    rows = [
        Compared(LabelledValue("a", "x", ("yes",)), "yes_no", said, right=True),
        Compared(LabelledValue("b", "x", ("no",)), "yes_no", said, right=False),
        Compared(LabelledValue("c", "x", ("no",)), "yes_no", not_said, right=False),
        Compared(LabelledValue("a", "y", ("red",)), "text", unsure, right=False),
        Compared(LabelledValue("b", "y", ()), "text", said, right=False),
        Compared(LabelledValue("c", "y", ()), "text", not_said, right=False),
    ]
    found = measured(rows, 100)["parts"]
    means = {name: found["all"][name]["mean"] for name in ("precision", "coverage", "found")}
    assert means == {"precision": 1 / 3, "coverage": 0.5, "found": 0.25}
    assert found["all"]["none_given"]["mean"] == found["all"]["not_said"]["mean"] == 0.5
    assert (found["yes_no"]["given"], found["yes_no"]["labelled"]) == (2, 3)
    assert found["text"]["coverage"]["mean"] == 0.0


def test_right_values_by_type():
    number = Attribute(questions=("How heavy is it?",), type="number", unit="kg")
    assert is_right(number, 2.09, [2.0])
    assert not is_right(number, 2.11, [2.0])
    text = Attribute(questions=("What colour is it?",))
    assert is_right(text, "a pretty sage green", ["sage green"])
    assert not is_right(text, "sage", ["a pretty sage green colour"])
    assert not is_right(text, "sage", [])


@pytest.mark.parametrize(
    ("line", "error"),
    [
        ('{"item_id": "lamp", "attribute": "size"}', "'values' is missing"),
        ('{"item_id": "lamp", "attribute": "size", "values": "big"}', "values have to be a list"),
        ('{"item_id": "lamp", "attribute": "size", "values": [true]}', "True is no text"),
        ('{"item_id": "lamp", "attribute": "weight", "values": []}', "no attribute 'weight'"),
        ('{"item_id": "lamp", "attribute": "size", "values": []}\n' * 2, "stand there twice"),
        ("big", "this is no labelled value"),
        ("", "there are no labels"),
    ],
)
def test_labels_that_are_wrong_are_named(line, error, tmp_path):
    file = tmp_path / "labels.jsonl"
    file.write_text(line)
    size = Attribute(questions=("How big is it?",))
    with pytest.raises(DataError, match=error):
        read_labelled(file, Specification(attributes={"size": size}))
