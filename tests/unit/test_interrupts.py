import os
import signal

import pytest

from indexing.interrupts import Interrupts, JobInterruptedError


@pytest.fixture(params=["SIGINT", "SIGTERM", "SIGHUP"])
def number(request):
    number = getattr(signal, request.param)
    previous = signal.getsignal(number)
    yield number
    signal.signal(number, previous)


def test_a_signal_is_an_error_with_its_exit_code(number):
    with pytest.raises(JobInterruptedError) as told, Interrupts():
        os.kill(os.getpid(), number)
    assert told.value.exit_code == 128 + number


def test_a_signal_waits_for_what_is_held(number):
    done = []

    def work():
        os.kill(os.getpid(), number)
        done.append(True)

    with pytest.raises(JobInterruptedError), Interrupts() as interrupts, interrupts.held():
        work()
    assert done


def test_what_the_process_was_started_to_ignore_stays_ignored(number):
    signal.signal(number, signal.SIG_IGN)
    with Interrupts() as interrupts:
        os.kill(os.getpid(), number)
        with interrupts.held():
            os.kill(os.getpid(), number)
    assert signal.getsignal(number) == signal.SIG_IGN
