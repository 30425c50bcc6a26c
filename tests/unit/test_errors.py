import inspect
import re
from pathlib import Path
from runpy import run_path

from qa_system import errors


def test_the_tree_is_drawn_whole() -> None:
    drawn = set(re.findall(r"\w+Error\b", errors.__doc__ or ""))
    defined = {
        name
        for name, kind in vars(errors).items()
        if inspect.isclass(kind) and issubclass(kind, Exception)
    }
    assert defined <= drawn
    assert drawn - defined == {
        "FilterError",
        "DuplicateDocumentError",
        "ValueError",
        *(kind.__name__ for kind in outside()),
    }
    assert defined == set(errors.__all__)


def outside() -> list[type]:
    """The errors that stand with what raises them: another library's too, or with records."""
    from indexing.interrupts import JobInterruptedError
    from qa_system.stores.documents import DamagedStoreError, DocumentTypeError, MetadataError
    from qa_system.stores.embedded.derived.lexical import DamagedIndexError
    from qa_system.stores.filters import InvalidFilterError
    from qa_system.stores.writes import DocumentsRejectedError, DuplicateIdError

    return [
        JobInterruptedError,
        DamagedStoreError,
        DocumentsRejectedError,
        DuplicateIdError,
        InvalidFilterError,
        DamagedIndexError,
        DocumentTypeError,
        MetadataError,
    ]


def test_every_error_is_one_of_ours() -> None:
    for kind in [*(getattr(errors, name) for name in errors.__all__), *outside()]:
        assert issubclass(kind, errors.QASystemError)


def test_the_message_says_what_where_and_the_remedy() -> None:
    error = errors.StoreError("the disk is full", where="/data", remedy="Free some space.")
    assert str(error) == "the disk is full (/data). Free some space."
    assert (error.what, error.where, error.remedy) == (
        "the disk is full",
        "/data",
        "Free some space.",
    )
    assert str(errors.StoreError("the disk is full")) == "the disk is full"


WRONG_IN_ITSELF = {
    "ConfigError",
    "EmptyQuestionError",
    "InvalidArgumentError",
    "InvalidFilterError",
    "QuestionError",
    "QuestionTooLongError",
    "UnknownColumnsError",
}


def everything(root: Path) -> list[type[errors.QASystemError]]:
    script = run_path(str(root / "docs" / "generate_cli.py"))
    found: list[type[errors.QASystemError]] = script["errors"]()
    return found


def test_exit_codes_follow_the_rule(root: Path) -> None:
    """2: what was asked is wrong in itself; 1: it was right and failed."""
    for kind in everything(root):
        assert kind.exit_code == (2 if kind.__name__ in WRONG_IN_ITSELF else 1)
    pages = (root / "docs" / "cli.md").read_text()
    for code in (1, 2):
        [row] = re.findall(rf"^\| {code} \| (`.*`) \|$", pages, re.MULTILINE)
        names = [kind.__name__ for kind in everything(root) if kind.exit_code == code]
        assert row == ", ".join(f"`{name}`" for name in names)


def test_every_code_is_one_errors_and_documented(root: Path) -> None:
    found = everything(root)
    assert set(outside()) <= set(found)
    assert len({kind.code for kind in found}) == len(found)
    rows = re.findall(
        r"^\| `([a-z_]+)` \| `(\w+)` \| ([^|]+) \| (\d) \|$",
        (root / "docs" / "python.md").read_text(),
        re.MULTILINE,
    )
    assert rows == [
        (kind.code, kind.__name__, kind.public_message, str(kind.exit_code)) for kind in found
    ]


# Programs compare them: a new name needs a line in CHANGELOG.md.
CODES = {
    errors.ClosedError: "closed",
    errors.ConfigError: "config",
    errors.EmptyQuestionError: "empty_question",
    errors.InvalidArgumentError: "invalid_argument",
    errors.ModelError: "model",
    errors.QuestionTooLongError: "question_too_long",
    errors.StoreNotFoundError: "store_not_found",
    errors.StoreUnavailableError: "store_unavailable",
    errors.UnknownItemError: "unknown_item",
}


def test_codes_stay_the_same() -> None:
    assert {kind: kind.code for kind in CODES} == CODES


def test_a_public_message_holds_nothing_of_the_error() -> None:
    error = errors.UnknownItemError("'secret'", where="http://host/index", remedy="See /data.")
    assert error.to_dict() == {
        "code": "unknown_item",
        "message": "There are no reviews of this item.",
        "public_message": "There are no reviews of this item.",
    }


def test_errors_that_are_also_haystacks() -> None:
    from haystack.document_stores.errors import DuplicateDocumentError
    from haystack.errors import FilterError

    from qa_system.stores.faiss import DuplicateIdError
    from qa_system.stores.filters import InvalidFilterError

    assert issubclass(DuplicateIdError, (errors.StoreError, DuplicateDocumentError))
    assert issubclass(InvalidFilterError, (errors.StoreError, FilterError))
