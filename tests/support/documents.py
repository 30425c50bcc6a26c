"""The code blocks of the Markdown documents, and why some are not run."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

FENCE = re.compile(r"(?P<indent> *)(?P<ticks>`{3,}|~{3,})(?P<language>[\w-]*)")
MARK = re.compile(r"<!-- not run: (?P<reason>.*\S) -->")


@dataclass(frozen=True)
class Block:
    """One fenced block: where it is, what it holds, and the reason of its mark if it has one."""

    document: str
    line: int
    language: str
    code: str
    reason: str | None

    def __str__(self) -> str:
        return f"{self.document}:{self.line}"


def blocks(document: Path, name: str) -> Iterator[Block]:
    """Read a document's blocks; `<!-- not run: REASON -->` stands on the line before a fence."""
    opened: re.Match[str] | None = None
    start, inside, before = 0, [], ""
    for number, line in enumerate(document.read_text(encoding="utf-8").splitlines(), start=1):
        fence = FENCE.match(line)
        if opened is None and fence is not None:
            opened, start, inside, mark = fence, number, [], MARK.fullmatch(before.strip())
        elif opened is not None and line.strip() == opened["ticks"]:
            code = "".join(f"{text.removeprefix(opened['indent'])}\n" for text in inside)
            reason = mark["reason"] if mark else None
            yield Block(name, start, opened["language"], code, reason)
            opened = None
        else:
            inside.append(line)
        before = line
