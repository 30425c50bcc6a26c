"""The job: every attribute of every item, a row each, written as it goes and continued."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from time import monotonic
from typing import Any, ClassVar, Final

from qa_system.answering.finding import refuse_unknown
from qa_system.answering.versions import models_of, version_of
from qa_system.arguments import MOST
from qa_system.attributes.extracting import Extraction, extract
from qa_system.attributes.specification import Specification
from qa_system.attributes.table import check_out, journal_of, write_table
from qa_system.catalogue.output import Run, open_output
from qa_system.config import Settings
from qa_system.consensus.confidence import confidence_of
from qa_system.console.progress import progress
from qa_system.errors import ConfigError, QASystemError
from qa_system.pipelines import reads_sentences
from qa_system.records import Question
from qa_system.stores.contract import ReviewStore
from qa_system.system import QASystem

__all__ = ["ExtractedReport", "Place", "extract_all", "extracted", "made_of"]

BATCH: Final = 16
"""Rows that are read together, and written together."""
PAGE: Final = 10_000
FIELD: Final = "meta.item_id"

Place = tuple[str, str]
"""An item and an attribute."""


class _AttributesRun(Run):
    NAMES: ClassVar[Mapping[str, str]] = {
        "questions": "the attributes (or --item, --max-error, --fitted)",
        "reviews": "the reviews in the store",
        "settings": "the settings or the models",
    }


@dataclass(frozen=True, slots=True)
class ExtractedReport:
    """What came of a job.

    Args:
        out: the file.
        items: that were asked about.
        rows: an item and an attribute each.
        said: rows with a value.
        unsure: rows without a value that is sure enough.
        not_said: rows that, surely enough, no review speaks of.
        errors: rows that failed.
        resumed: rows that an earlier run had done.
        threshold: the confidence that a value needs besides; None: no error was promised.
        seconds: of this run.
    """

    out: str
    items: int
    rows: int
    said: int
    unsure: int
    not_said: int
    errors: int
    resumed: int
    threshold: float | None
    seconds: float

    @property
    def exit_code(self) -> int:
        """Of a command that does nothing else: 1 if every row failed."""
        return int(0 < self.rows == self.errors)

    def to_dict(self) -> dict[str, Any]:
        """Return the report as JSON values."""
        return asdict(self)


def extract_all(
    settings: Settings,
    specification: Specification,
    out: Path,
    items: Sequence[str] | None = None,
    *,
    threshold: float | None = None,
    restart: bool = False,
) -> ExtractedReport:
    """Extract attributes of a store's items, and write a row for each item and attribute.

    A row that fails has its error in its line. A run that was stopped, by SIGKILL as well, goes on
    behind the rows that it had done.

    Args:
        settings: the store, the models and how to use them.
        specification: the attributes.
        out: `.csv`, beside which a file `.csv.jsonl` keeps every row with its quotes as the job
            goes on; or `.jsonl`, that file alone.
        items: their ids; None: all of the store.
        threshold: the confidence that a value needs; None: the system's own decision.
        restart: begin anew, over the rows of an earlier run.

    Raises:
        ConfigError: the file has another suffix, holds something else, or rows of another run; or
            no item has one of the attributes.
        UnknownItemError: the store has no review of an item that was named.
        QASystemError: what concerns all rows: the store, a model.
    """
    check_out(out)
    begun = monotonic()
    with QASystem.open(settings) as system:
        for item in items or ():
            refuse_unknown(system.store, item, settings.store.place)
        chosen = list(_items_of(system.store) if items is None else dict.fromkeys(items))
        places = _places(specification, chosen, settings.store.place)
        run = _run_of(system, specification, chosen, threshold)
        journal = journal_of(out)
        with open_output(journal, run, restart=restart) as output:
            resumed = output.rows
            with progress("extracting", unit="rows", total=len(places)) as shown:
                shown.go_on(resumed)
                for first in range(resumed, len(places), BATCH):
                    batch = places[first : first + BATCH]
                    output.write(_lines(system, specification, batch, threshold))
                    shown.advance(len(batch))
            rows, errors = output.rows, output.errors
    counts = write_table(journal, out)
    return ExtractedReport(
        out=str(out),
        items=len(chosen),
        rows=rows,
        said=counts["said"],
        unsure=counts["unsure"],
        not_said=counts["not_said"],
        errors=errors,
        resumed=resumed,
        threshold=threshold,
        seconds=round(monotonic() - begun, 3),
    )


def extracted(
    system: QASystem, specification: Specification, places: Sequence[Place]
) -> list[Extraction | QASystemError]:
    """Return what reviews say of some attributes; all questions are read together.

    Args:
        system: is asked.
        specification: the attributes.
        places: an item and the name of an attribute each.

    Returns:
        One for each place, in order: an extraction, or why a question of it cannot be answered.
    """
    attributes = [specification.attributes[name] for _, name in places]
    asked = [
        Question(text, item)
        for (item, _), attribute in zip(places, attributes, strict=True)
        for text in attribute.questions
    ]
    answers = iter(system.ask_many(asked, MOST))
    not_said = _not_said(system.settings)
    found: list[Extraction | QASystemError] = []
    for attribute in attributes:
        own = list(islice(answers, len(attribute.questions)))
        error = next((each.error for each in own if each.error is not None), None)
        found.append(extract(attribute, own, not_said) if error is None else error)
    return found


def _places(specification: Specification, items: Iterable[str], store: str) -> list[Place]:
    """Return the rows to come, item by item."""
    found = [(item, name) for item in items for name in specification.of_item(item)]
    if not found:
        raise ConfigError(
            "no item of the store has one of these attributes",
            where=store,
            remedy="Widen `items` in the file of attributes, or leave it out.",
        )
    return found


def _not_said(settings: Settings) -> float:
    """Return the score below which no review says it, as fitted with the pipeline; 0: none was."""
    fitted = confidence_of(settings, reads_sentences=reads_sentences(settings))
    own = None if fitted is None or fitted.counting is None else fitted.counting.not_said
    return 0.0 if fitted is None or own is None else fitted.probability(own)


def made_of(settings: Settings, specification: Specification) -> str:
    """Return a digest of what values depend on beside the reviews."""
    version = version_of(settings, models_of(settings))
    return _digest(f"{version} {specification.digest}")


def _lines(
    system: QASystem,
    specification: Specification,
    places: Sequence[Place],
    threshold: float | None,
) -> Iterator[dict[str, Any]]:
    for (item, name), found in zip(places, extracted(system, specification, places), strict=True):
        attribute = specification.attributes[name]
        own = {
            "id": f"{item}:{name}",
            "item_id": item,
            "attribute": name,
            "type": attribute.type,
            "unit": attribute.unit,
        }
        if isinstance(found, QASystemError):
            yield {**own, "error": {"code": found.code, "message": str(found)}}
        else:
            kept = found if threshold is None else found.withheld_below(threshold)
            yield {**own, **kept.to_dict()}


def _items_of(store: ReviewStore) -> Iterator[str]:
    for first in range(0, store.count_items(), PAGE):
        page, _ = store.get_metadata_field_unique_values(FIELD, None, first, PAGE)
        yield from (each for each in page if isinstance(each, str))


def _run_of(
    system: QASystem, specification: Specification, items: Iterable[str], threshold: float | None
) -> Run:
    generation = system.store.read_generation()
    # What a server says behind the colon counts its refreshes, which change no review.
    store = generation.store.partition(":")[0]
    listed = "\0".join(items)
    return _AttributesRun(
        questions=_digest(f"{specification.digest} {threshold} {listed}"),
        reviews=_digest(f"{store} {generation.number}"),
        settings=_digest(version_of(system.settings, models_of(system.settings))),
    )


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:12]
