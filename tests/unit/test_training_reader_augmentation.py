"""Examples in other words: what is replaced, what is kept, and where the answers are then."""

from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qa_system.errors import DataError, InvalidArgumentError, ModelError
from qa_system.training.reader.augmentation.augment import in_other_words, paraphrased, varied
from qa_system.training.reader.augmentation.back_translation import BackTranslator, keeps_facts
from qa_system.training.reader.augmentation.edits import edited
from qa_system.training.reader.augmentation.synonyms import are_opposites, synonyms_of
from qa_system.training.reader.augmentation.wordnet import wordnet_synonyms
from qa_system.training.reader.examples import Example
from qa_system.training.reader.forms import with_forms
from qa_system.training.recipes import ReaderRecipe
from tiny_models import save_seq2seq, tiny_bart

PLACES = st.lists(st.integers(0, 30), min_size=2, max_size=12, unique=True).map(sorted)


@given(PLACES, st.data())
def test_a_span_has_the_same_text_after_an_edit_outside_of_it(places: list[int], data: Any) -> None:
    """Every second stretch between places is a span, the others may be edited."""
    text = "abcdefghijklmnopqrstuvwxyz012345"
    spans = list(zip(places[::2], places[1::2], strict=False))
    free = [(0, places[0]), *zip(places[1::2], places[2::2], strict=False)]
    edits = [
        (start, end, data.draw(st.text(alphabet="XYZ", max_size=5)))
        for start, end in free
        if data.draw(st.booleans())
    ]
    found, moved = edited(text, edits, spans)
    assert [found[a:b] for a, b in moved] == [text[a:b] for a, b in spans]
    assert moved == sorted(moved)
    assert len(found) == len(text) + sum(len(new) - (end - start) for start, end, new in edits)


@given(PLACES, st.data())
def test_an_edit_inside_a_span_changes_the_span_alone(places: list[int], data: Any) -> None:
    text = "abcdefghijklmnopqrstuvwxyz012345"
    [first, *inner, last] = places
    edits = [
        (start, end, data.draw(st.text(alphabet="XYZ", min_size=1, max_size=5)))
        for start, end in zip(inner[::2], inner[1::2], strict=False)
    ]
    found, [(start, end)] = edited(text, edits, [(first, last)])
    inside, _ = edited(text[first:last], [(a - first, b - first, new) for a, b, new in edits], [])
    assert found[start:end] == inside
    assert (found[:start], found[end:]) == (text[:first], text[last:])


def test_edits_that_would_tear_an_answer_are_refused() -> None:
    with pytest.raises(InvalidArgumentError, match="border of an answer"):
        edited("The lid leaks.", [(2, 6, "x")], [(4, 7)])
    with pytest.raises(InvalidArgumentError, match="two edits overlap"):
        edited("The lid leaks.", [(2, 6, "x"), (4, 8, "y")], [])


WORDS = ["lid", "Lid", "strap", "STRAP", "leaks", "not", "the", "2", "cover's"]
SYNONYMS = {"lid": ["cap"], "strap": ["belt", "band"], "cover": ["cap"]}
BACK = {"cap": "lid", "belt": "strap", "band": "strap"}


@given(
    st.lists(st.sampled_from(WORDS), min_size=1, max_size=12),
    st.lists(st.sampled_from(WORDS), min_size=1, max_size=4),
    st.data(),
)
def test_answers_keep_their_words_and_all_other_words_are_there_or_replaced(
    text: list[str], question: list[str], data: Any
) -> None:
    first = data.draw(st.integers(0, len(text)))
    last = data.draw(st.integers(first, len(text)))
    context = " ".join(text)
    start = len(" ".join(text[:first])) + bool(first) if first < last else 0
    spans = ((start, start + len(" ".join(text[first:last]))),) if first < last else ()
    example = Example(" ".join(question), context, spans)
    draw = Random(data.draw(st.integers(0, 9)))
    new = in_other_words(example, SYNONYMS, draw, share=0.5)
    if new is None:
        return
    assert new != example
    assert new.spans is not None
    assert [new.context[a:b] for a, b in new.spans] == [context[a:b] for a, b in spans]
    mapping = {}
    pairs = zip((*question, *text), (*new.question.split(), *new.context.split()), strict=True)
    for old, now in pairs:
        if old != now:
            bare, put = old.lower().removesuffix("'s"), now.lower().removesuffix("'s")
            assert put in SYNONYMS[bare]
            assert mapping.setdefault(bare, put) == put
            assert old.isupper() == now.isupper()
    # Everywhere by the same word: none of the replaced ones is left.
    left = {
        each.lower().removesuffix("'s") for each in (*new.question.split(), *new.context.split())
    }
    assert not left & mapping.keys()


def test_a_word_of_an_answer_is_replaced_only_if_told() -> None:
    example = Example("How is the lid?", "Fine. The lid leaks. Good lid.", ((6, 19),))
    assert in_other_words(example, SYNONYMS, Random(1), share=1) is None
    new = in_other_words(example, {"lid": ["cover"]}, Random(1), share=1, in_answers=True)
    assert new == Example("How is the cover?", "Fine. The cover leaks. Good cover.", ((6, 21),))


def test_examples_without_answers_and_without_labels_stay_so() -> None:
    for spans in ((), None):
        new = in_other_words(
            Example("How is the lid?", "I have two.", spans), SYNONYMS, Random(1), share=1
        )
        assert new == Example("How is the cap?", "I have two.", spans)


TEXTS = [
    "The photo is blurred and the picture shakes.",
    "I took a photo of the box, and the picture was dark inside the box, and outside of the box.",
    "The picture on the inside is red, the photo on the outside is blue.",
    "The inside of the bag is wet, the outside of the bag is dry. No photo, not one picture.",
    "After eleven days the rug was flat, after twelve days the carpet was not. The rug is nice.",
    "The carpet and the rug have no smell, never.",
]


def test_neighbours_are_nouns_and_no_opposites_numbers_or_negations() -> None:
    found = synonyms_of(TEXTS, "bundled:encoder", 0.6)
    assert found["photo"] == ["picture"]
    assert found["carpet"] == ["rug"]
    excluded = {"inside", "outside", "red", "blue", "eleven", "twelve", "no", "not", "never"}
    assert not excluded & {*found, *(word for words in found.values() for word in words)}
    assert synonyms_of(TEXTS, "bundled:encoder", 1.0) == {}
    assert synonyms_of([], "bundled:encoder", 0.6) == {}


@pytest.mark.parametrize(
    "pair", [("useful", "useless"), ("outside", "inside"), ("stop", "nonstop")]
)
def test_opposites_are_known(pair: tuple[str, str]) -> None:
    assert are_opposites(*pair)
    assert are_opposites(*reversed(pair))


def wordnet(folder: Path) -> Path:
    """A database of three meanings, in the form of Princeton's."""
    folder.mkdir()
    licence = "  1 This software and database is provided as is.\n"
    photo = "n 02 photo 0 picture 0 001 @ 00000000 n 0000 | a picture taken by a camera\n"
    rug = "n 03 rug 0 carpet 1 floor_covering 0 000 | floor covering\n"
    film = "n 02 picture 0 film 0 000 | a form of entertainment\n"
    data, places = licence, {}
    for name, rest in (("photo", photo), ("rug", rug), ("film", film)):
        places[name] = len(data)
        data += f"{len(data):08d} 06 {rest}"
    (folder / "data.noun").write_text(data)
    index = {
        "photo": [places["photo"]],
        "picture": [places["photo"], places["film"]],
        "rug": [places["rug"]],
    }
    lines = [
        f"{word} n {len(at)} 1 @ {len(at)} 1 {' '.join(f'{each:08d}' for each in at)}  \n"
        for word, at in index.items()
    ]
    (folder / "index.noun").write_text(licence + "".join(lines))
    for part in ("verb", "adj", "adv"):
        (folder / f"data.{part}").write_text(licence)
        (folder / f"index.{part}").write_text(licence)
    return folder


def test_wordnet_gives_the_other_words_of_the_first_meaning(tmp_path: Path) -> None:
    folder = wordnet(tmp_path / "dict")
    assert wordnet_synonyms(folder, ["photo", "picture", "rug", "lid"]) == {
        "photo": ("picture",),
        "picture": ("photo",),
        "rug": ("carpet",),
    }
    found = synonyms_of(TEXTS, f"wordnet:{folder}", 0.7)
    assert found["rug"] == ("carpet",)
    with pytest.raises(DataError, match=r"index\.noun cannot be read"):
        wordnet_synonyms(tmp_path, ["lid"])
    shifted = (folder / "data.noun").read_text()[1:]
    (folder / "data.noun").write_text(shifted)
    with pytest.raises(DataError, match="another meaning"):
        wordnet_synonyms(folder, ["rug"])


@pytest.mark.parametrize(
    ("text", "translated", "kept"),
    [
        ("It never broke.", "It did not break.", True),
        ("It lasts 2.5 hours.", "It holds 2.5 hours.", True),
        ("It lasts 2.5 hours.", "It holds 25 hours.", False),
        ("It isn’t loud.", "It is loud.", False),
        ("It is loud.", "It is not quiet.", False),
        ("It is loud.", "...", False),
    ],
)
def test_a_translation_keeps_numbers_and_negations(
    text: str, translated: str, *, kept: bool
) -> None:
    assert keeps_facts(text, translated) is kept


@pytest.fixture(scope="module")
def translator(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("translation") / "there"
    return str(save_seq2seq(folder, tiny_bart(seed=4)))


def test_texts_are_translated_there_and_back(translator: str) -> None:
    texts = ["The screen is bright.", "The strap broke after one year.", "The screen is bright."]
    found = BackTranslator(translator, translator, "cpu").paraphrases(texts)
    assert found
    for text, new in found.items():
        assert text in texts
        assert new != text
        assert keeps_facts(text, new)
    alone = BackTranslator(translator, translator, "cpu").paraphrases(texts[:1])
    assert alone == {text: new for text, new in found.items() if text == texts[0]}
    with pytest.raises(ModelError):
        BackTranslator(translator, "bundled:encoder", "cpu")


EXAMPLES = [
    Example("How is the photo?", "The box came late. The photo is blurred. Fine.", ((19, 39),)),
    Example("How is the rug?", "The rug has no smell. The picture is dark.", ((0, 20),)),
    Example("Is it loud?", "I have a carpet and a photo.", ()),
]


def test_sentences_of_answers_are_not_translated() -> None:
    said = {text: f"new {text}" for each in EXAMPLES for text in (each.question,)}
    said |= {"The box came late.": "It was late.", "The photo is blurred.": "Blurred."}
    new = paraphrased(EXAMPLES[0], said)
    assert new is not None
    assert new.context == "It was late. The photo is blurred. Fine."
    assert new.spans == ((13, 33),)
    assert new.question == "new How is the photo?"
    assert paraphrased(EXAMPLES[2], {}) is None


def test_a_recipe_adds_examples_whose_answers_say_the_same(translator: str) -> None:
    recipe = ReaderRecipe.model_validate(
        {
            "augmentation": {
                "synonyms": {"share": 2, "similarity": 0.5, "words": 1},
                "back_translation": {"share": 1, "there": translator, "back": translator},
            },
            "forms": {"reworded": 0.5},
            "device": "cpu",
        }
    )
    found, counts = varied(EXAMPLES, recipe, seed=3)
    assert found[:3] == EXAMPLES
    assert counts["synonyms"] > 0
    assert counts["back_translated"] > 0
    assert counts.total() == len(found) - 3
    answers = {each.context[a:b] for each in EXAMPLES for a, b in each.spans or ()}
    for each in found:
        assert {each.context[a:b] for a, b in each.spans or ()} <= answers
    assert varied(EXAMPLES, recipe, seed=3)[0] == found
    assert recipe.augmentation.models() == {
        "synonyms": "bundled:encoder",
        "there": translator,
        "back": translator,
    }


def test_nothing_is_added_unasked() -> None:
    recipe = ReaderRecipe()
    assert varied(EXAMPLES, recipe, seed=3) == with_forms(EXAMPLES, recipe.forms, 3)
    assert varied(EXAMPLES, recipe, seed=3)[0] == EXAMPLES
    assert recipe.augmentation.models() == {}
