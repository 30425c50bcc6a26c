"""Damage any file of a store at random: no raw error, and the answers of a fresh one afterwards.

A damaged derived file is built anew from the ledger. A damaged ledger is an error that says so.
"""

import json
import os
import subprocess
import sys

import pytest

import damage_worker

KINDS = {
    "meta.json": "lexical-0/meta.json",
    ".managed.json": "lexical-0/.managed.json",
    **{
        f"*.{end}": f"lexical-0/*.{end}"
        for end in ("idx", "term", "pos", "store", "fast", "fieldnorm", "del")
    },
    "lexical.json": "lexical.json",
    "vectors-0.json": "vectors-0.json",
    "vectors *.f32": "vectors-0-0.f32",
    "vectors *.rows": "vectors-0-0.rows",
    "ann.json": "ann.json",
    "ann.faiss": "ann.faiss",
}
FEW, MANY = 3, 100


class Damager:
    """The worker, and the two stores that it damages copies of."""

    def __init__(self, root, folder):
        self.folder = folder
        self.process = subprocess.Popen(
            [sys.executable, damage_worker.__file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=root,
            env={**os.environ, "PYTHONPATH": str(root)},
        )
        for is_thinned in (False, True):
            place = self.place(is_thinned)
            place.mkdir()
            assert self.ask(action="make", folder=str(place), is_thinned=is_thinned)["made"]

    def place(self, is_thinned):
        return self.folder / ("thinned" if is_thinned else "whole")

    def ask(self, **command):
        self.process.stdin.write(json.dumps(command) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def trials(self, pattern, number):
        """Yield how a file was damaged, and what came of it."""
        place = str(self.place(pattern.endswith(".del")))
        ways = damage_worker.HOW
        for seed in range(number):
            how = ways[(seed if number >= len(ways) else 4 * seed) % len(ways)]
            asked = {"folder": place, "pattern": pattern, "how": how, "seed": f"{pattern} {seed}"}
            yield how, self.ask(action="trial", **asked)


@pytest.fixture(scope="module")
def damager(root, tmp_path_factory):
    damager = Damager(root, tmp_path_factory.mktemp("damage"))
    yield damager
    damager.process.stdin.close()
    damager.process.wait(timeout=60)
    damager.process.stdout.close()


def check_derived(damager, pattern, number):
    bad = []
    for how, result in damager.trials(pattern, number):
        steps = ("verify", "after", "close", "again", "verify again")
        is_raw = any("RAW" in str(value) for value in result.values())
        if "died" in result or is_raw or any(result[step] != "right" for step in steps):
            bad.append((how, result))
    assert not bad


def check_ledger(damager, number):
    """Nothing can tell a text that was changed from one that was written so: no raw error."""
    results = list(damager.trials("store.sqlite3", number))
    assert [each for each in results if "died" in each[1] or "RAW" in json.dumps(each[1])] == []
    assert any("error: " in json.dumps(result) for _, result in results)


@pytest.mark.parametrize("kind", KINDS)
def test_a_derived_file_is_healed(damager, kind):
    check_derived(damager, KINDS[kind], FEW)


def test_a_damaged_ledger_is_a_clear_error(damager):
    check_ledger(damager, 9)


@pytest.mark.long
@pytest.mark.parametrize("kind", KINDS)
def test_a_derived_file_is_healed_a_hundred_times(damager, kind):
    check_derived(damager, KINDS[kind], MANY)


@pytest.mark.long
def test_a_ledger_that_is_damaged_a_hundred_times(damager):
    check_ledger(damager, MANY)
