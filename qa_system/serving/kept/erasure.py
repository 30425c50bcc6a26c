"""Forgotten reviews erased from the files of a service."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from qa_system.serving.kept.asked import AskedFile
from qa_system.serving.kept.audit import AuditFile
from qa_system.serving.product_page.feedback import FeedbackFile

if TYPE_CHECKING:
    from qa_system.config import ServingSettings
    from qa_system.serving.kept.traces import Traces

__all__ = ["ErasedFromService", "erase_from_service"]


@dataclass(frozen=True, slots=True)
class ErasedFromService:
    """What was erased from the files of a service.

    Args:
        feedback: entries about answers that quoted one of the reviews.
        audit: records of answers for which one of them was read.
        asked: askings whose question quotes one of them.
    """

    feedback: int = 0
    audit: int = 0
    asked: int = 0

    def __add__(self, other: ErasedFromService) -> ErasedFromService:
        return ErasedFromService(
            self.feedback + other.feedback, self.audit + other.audit, self.asked + other.asked
        )


def erase_from_service(settings: ServingSettings, traces: Traces) -> ErasedFromService:
    """Erase the traces of forgotten reviews from those files that the settings name.

    Args:
        settings: of the service; it may run. A file that is not there is not made.
        traces: of the reviews.

    Raises:
        StoreLockedError: somebody reads a file all the time.
        StoreUnavailableError: a file cannot be written.
    """
    feedback, audit, asked = (
        None if name is None or not Path(name).is_file() else Path(name)
        for name in (settings.feedback, settings.audit.file, settings.asked.file)
    )
    erased = ErasedFromService()
    if feedback is not None:
        erased += ErasedFromService(feedback=FeedbackFile(feedback).forget(traces))
    if audit is not None:
        with closing(AuditFile(audit, settings.audit)) as answers:
            erased += ErasedFromService(audit=answers.forget(traces))
    if asked is not None:
        with closing(AskedFile(asked, settings.asked)) as questions:
            erased += ErasedFromService(asked=questions.forget(traces))
    return erased
