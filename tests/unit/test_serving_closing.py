"""Connections that wait when a service stops are answered, each of them."""

import http.client
import json
import threading
from concurrent.futures import ThreadPoolExecutor

from qa_system.serving.supervisor import listen, turn_away


def test_every_request_that_was_sent_is_answered() -> None:
    listening = listen("127.0.0.1", 0)
    port = listening.getsockname()[1]
    sent = threading.Barrier(41)

    def ask(number: int) -> tuple[int, str, str | None]:
        client = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        client.request("POST", "/v1/ask", body=b"x" * 2_000 * number)
        sent.wait()
        response = client.getresponse()
        told = json.loads(response.read())["error"]
        client.close()
        return response.status, told["code"], response.getheader("retry-after")

    with ThreadPoolExecutor(40) as clients:
        asked = [clients.submit(ask, number) for number in range(40)]
        sent.wait()  # nobody has accepted any of them
        turn_away(listening, lambda: True)
        assert {each.result() for each in asked} == {(503, "closed", "1")}
    assert listening.fileno() == -1


def test_who_says_nothing_does_not_hold_it_up(monkeypatch) -> None:
    monkeypatch.setattr("qa_system.serving.supervisor.SECONDS", 0.1)
    listening = listen("127.0.0.1", 0)
    client = http.client.HTTPConnection("127.0.0.1", listening.getsockname()[1], timeout=30)
    client.connect()
    turn_away(listening, lambda: True)
    assert client.sock.recv(1) == b""
