"""The tasks of each annotator: which is next, what was said, what is taken back."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from threading import Lock
from typing import TYPE_CHECKING

from qa_system.annotation.agreement import Agreement, agreements
from qa_system.annotation.marks import Mark, marks_of
from qa_system.annotation.tasks import Task
from qa_system.errors import ReviewChangedError
from qa_system.opinions import Polarity
from qa_system.records import AnswerSpan

if TYPE_CHECKING:
    from qa_system.stores.contract import ReviewStore

__all__ = ["Annotations", "State"]


@dataclass(frozen=True, slots=True)
class State:
    """Where an annotator is.

    Args:
        task: the one to do now; None: all are labelled.
        labelled: how many of the tasks the annotator has labelled.
        skipped: how many wait at the end.
        tasks: how many there are.
        last_saved: when the newest label was written, in ISO 8601; None: there is none.
        previous: what the annotator had said of `task` before it was taken back.
    """

    task: Task | None
    labelled: int
    skipped: int
    tasks: int
    last_saved: str | None
    previous: Mark | None = None


class Annotations:
    """What annotators say of tasks, written to a store as they say it; for many threads.

    Args:
        store: has the labels; its writer lock is held for no longer than a write.
        tasks: in the order in which they are shown; the same one once.
    """

    def __init__(self, store: ReviewStore, tasks: Sequence[Task]) -> None:
        self.tasks = {task.id: task for task in tasks}
        self._store = store
        self._of: dict[str, _Queue] = {}
        self._lock = Lock()

    def state(self, annotator: str) -> State:
        """Return where an annotator is; what was labelled before is left out."""
        with self._lock:
            return self._queue(annotator).state()

    def mark(
        self, annotator: str, task: Task, span: AnswerSpan | None, polarity: Polarity | None
    ) -> State:
        """Write a label, in place of what the annotator has said of the task before.

        Args:
            annotator: who.
            task: one of `tasks`.
            span: the words that answer; None: the review does not say.
            polarity: of what they say; None: it was not judged.

        Returns:
            Where the annotator is then. When it returns, the label is in the store.

        Raises:
            ReviewChangedError: the review was deleted or has changed; nothing was written.
            StoreLockedError: another process is writing (embedded store).
            StoreUnavailableError: the server does not answer.
        """
        with self._lock:
            queue = self._queue(annotator)
            at = datetime.now(UTC).isoformat(timespec="milliseconds")
            mark = Mark(task.id, annotator, span, polarity, at)
            self._replace(task, mark, queue.marks.get(task.id))
            queue.mark(mark)
            return queue.state()

    def skip(self, annotator: str, task_id: str) -> State | None:
        """Put a task at the end; None: the annotator has no such task to do."""
        with self._lock:
            queue = self._queue(annotator)
            return queue.state() if queue.skip(task_id) else None

    def undo(self, annotator: str) -> State:
        """Take back what the annotator did last, one step at a time, up to the first one.

        A label is deleted, or the one that it took the place of is written again. The task of the
        label, or the skipped one, is next.

        Raises:
            StoreLockedError: another process is writing (embedded store).
            StoreUnavailableError: the server does not answer.
        """
        with self._lock:
            queue = self._queue(annotator)
            if not queue.done:
                return queue.state()
            last = queue.done[-1]
            if last.mark is not None:
                task = self.tasks[last.task_id]
                try:
                    self._replace(task, last.before, last.mark)
                except ReviewChangedError:
                    self._replace(task, None, last.mark)
            return queue.undo()

    def agreements(self) -> list[Agreement]:
        """Return how far the annotators of the store agree."""
        with self._lock:
            return agreements(marks_of(self._store.get_labels_aggregated(by_item=False)))

    def _replace(self, task: Task, mark: Mark | None, stale: Mark | None) -> None:
        try:
            self._store.replace_labels(
                [] if mark is None else [mark.label(task)],
                [] if stale is None else [stale.label(task)],
                check_reviews=True,
            )
        finally:
            self._store.close()  # lets others write: it opens again

    def _queue(self, annotator: str) -> _Queue:
        if annotator not in self._of:
            labels = self._store.get_labels_aggregated(by_item=False)
            own = [
                mark
                for mark in marks_of(labels)
                if mark.annotator == annotator and mark.task_id in self.tasks
            ]
            self._of[annotator] = _Queue(self.tasks, sorted(own, key=lambda mark: mark.at))
        return self._of[annotator]


@dataclass(frozen=True, slots=True)
class _Step:
    """What an annotator did to a task.

    Args:
        task_id: of the task.
        mark: what was said; None: it was skipped.
        before: what `mark` took the place of; None: of nothing.
    """

    task_id: str
    mark: Mark | None
    before: Mark | None = None


class _Queue:
    """One annotator's tasks.

    Args:
        tasks: of all annotators.
        marks: what this one has said, oldest first.
    """

    def __init__(self, tasks: Mapping[str, Task], marks: Sequence[Mark]) -> None:
        self._tasks = tasks
        self._pending = OrderedDict.fromkeys(tasks)
        self._skipped: set[str] = set()
        self.marks: dict[str, Mark] = {}
        self.done: list[_Step] = []
        """Labels and skips, in the order in which they were made; those of earlier runs first."""
        for mark in marks:
            self.mark(mark)

    def state(self, previous: Mark | None = None) -> State:
        task_id = next(iter(self._pending), None)
        return State(
            task=None if task_id is None else self._tasks[task_id],
            labelled=len(self.marks),
            skipped=len(self._skipped),
            tasks=len(self._tasks),
            last_saved=max((mark.at for mark in self.marks.values()), default=None),
            previous=previous,
        )

    def mark(self, mark: Mark) -> None:
        self.done.append(_Step(mark.task_id, mark, self.marks.get(mark.task_id)))
        self.marks[mark.task_id] = mark
        self._pending.pop(mark.task_id, None)
        self._skipped.discard(mark.task_id)

    def skip(self, task_id: str) -> bool:
        if task_id not in self._pending:
            return False
        self._pending.move_to_end(task_id)
        self._skipped.add(task_id)
        self.done.append(_Step(task_id, None))
        return True

    def undo(self) -> State:
        last = self.done.pop()
        self._pending[last.task_id] = None
        self._pending.move_to_end(last.task_id, last=False)
        self._skipped.discard(last.task_id)
        if last.before is not None:
            self.marks[last.task_id] = last.before
        elif last.mark is not None:
            del self.marks[last.task_id]
        return self.state(last.mark)
