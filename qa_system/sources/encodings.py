"""Which encoding a text is in: by its byte order mark, by what its bytes allow, by its letters.

UTF-8 proves itself: text of another encoding is hardly ever valid UTF-8. Where it is not,
charset-normalizer tells scripts apart (Cyrillic, Greek, Chinese, ...). Among the encodings of the
Latin script it goes by their order; there, the letters of their languages decide.
"""

from __future__ import annotations

import codecs
import re
import statistics
from collections.abc import Iterable

__all__ = ["BOM", "detect", "non_ascii_lines", "wide_encoding"]

BOM = codecs.BOM_UTF8
EVIDENCE_BYTES = 1 << 16
SEARCHED_BYTES = 1 << 26
WIDE_BOMS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
SCRIPTS = (
    *("cp1251", "koi8_r", "cp1253", "cp1255", "cp1256"),
    *("cp932", "euc_jp", "gb18030", "big5", "cp949"),
)
"""Encodings of other scripts than Latin that charset-normalizer chooses from."""
LETTERS = {
    "cp1252": "àáâãäåæçèéêëìíîïñòóôõöøœùúûüßÀÁÂÃÄÅÆÇÈÉÊËÍÎÑÓÔÕÖØŒÙÚÜ€£°¿¡«»",
    "cp1250": "áäąćčçďđéęěíĺľłńňóôőöŕřśšşťţúůűüýźžżßÁÄĄĆČĎĐÉĘĚÍŁŃŇÓÖŘŚŠŤÚŮÜÝŹŽŻ€°«»",
    "cp1254": "çğıöşüâîûÇĞİÖŞÜ€°",
    "cp1257": "ąčęėįšųūžāēģīķļņõäöüĄČĘĖĮŠŲŪŽĀĒĢĪĶĻŅÕÄÖÜ€°",
}
"""Letters and signs that the languages of an encoding use."""
PUNCTUATION = frozenset("‘’‚“”„–—…•™\u00a0")
_HIGH_RUN = re.compile(rb"[\x80-\xff]+")
_WORD = re.compile(rb"[A-Za-z]*[\x80-\xff][A-Za-z\x80-\xff]*")


def wide_encoding(head: bytes) -> str | None:
    """Name the encoding of a text of two or four bytes a character; None: it is no such text.

    Args:
        head: how the file begins.

    >>> wide_encoding("a,b".encode("utf-16")), wide_encoding("a,b".encode("utf-16-be"))
    ('utf-16', 'utf-16-be')
    >>> wide_encoding(b"a,b") is None
    True
    """
    for bom, name in WIDE_BOMS:
        if head.startswith(bom):
            return name
    pairs = len(head) // 2
    if not pairs:
        return None
    # Without a mark: nearly every second byte of a Western text is zero.
    zeros = (head[: 2 * pairs : 2].count(0) / pairs, head[1 : 2 * pairs : 2].count(0) / pairs)
    if zeros[0] < 0.1 and zeros[1] > 0.6:
        return "utf-16-le"
    return "utf-16-be" if zeros[1] < 0.1 and zeros[0] > 0.6 else None


def non_ascii_lines(chunks: Iterable[bytes]) -> list[bytes]:
    """Collect lines that are not plain ASCII, as evidence for `detect`.

    Args:
        chunks: the file from its beginning; the first 64 MB are looked at.

    >>> non_ascii_lines([b"plain\\ncaf\\xc3", b"\\xa9\\n"])
    [b'caf\\xc3\\xa9']
    """
    found: list[bytes] = []
    searched = collected = 0
    tail = b""
    for chunk in chunks:
        searched += len(chunk)
        text = tail + chunk
        tail = b""
        if not text.isascii():
            # The last line may be cut within a character.
            text, _, tail = text.rpartition(b"\n")
            tail = tail[:EVIDENCE_BYTES]
            for line in text.split(b"\n"):
                if not line.isascii():
                    found.append(line[:EVIDENCE_BYTES])
                    collected += len(found[-1])
        if collected >= EVIDENCE_BYTES or searched >= SEARCHED_BYTES:
            return found
    return found if tail.isascii() else [*found, tail]


def detect(lines: Iterable[bytes]) -> str:
    """Name the encoding of a text.

    Where most lines are valid UTF-8, the others are damaged, and UTF-8 it is.

    Args:
        lines: those with other bytes than ASCII.

    >>> detect(["Größe".encode()]), detect(["Größe".encode("cp1252")]), detect([])
    ('utf-8', 'cp1252', 'utf-8')
    """
    invalid: list[bytes] = []
    valid = 0
    for line in lines:
        if _is_utf8(line):
            valid += 1
        else:
            invalid.append(line)
    if valid >= len(invalid):
        return "utf-8"
    evidence = b"\n".join(invalid)[:EVIDENCE_BYTES]
    if not _is_latin(evidence):
        from charset_normalizer import from_bytes

        best = from_bytes(evidence, cp_isolation=[*SCRIPTS, *LETTERS]).best()
        if best is not None and best.encoding in SCRIPTS:
            return best.encoding
    return max(LETTERS, key=lambda name: _share_of_letters(evidence, name))


def _is_utf8(line: bytes) -> bool:
    try:
        line.decode()
    except UnicodeDecodeError:
        return False
    return True


def _is_latin(text: bytes) -> bool:
    """Whether single accented letters stand in words that are mostly ASCII."""
    runs = [len(run) for run in _HIGH_RUN.findall(text)]
    letters = sum(map(len, _WORD.findall(text)))
    return statistics.median(runs) < 2 and sum(runs) < 0.6 * letters


def _share_of_letters(text: bytes, encoding: str) -> float:
    chars = [char for char in text.decode(encoding, "replace") if not char.isascii()]
    known = PUNCTUATION.union(LETTERS[encoding])
    return sum(char in known for char in chars) / len(chars)
