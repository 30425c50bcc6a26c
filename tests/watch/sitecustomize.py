"""Runs in every Python process that finds this folder on its path: nothing reaches the network.

A name lookup and a connection or datagram to another machine raise an OSError and leave a line in
the file that NETWORK_LOG names. `native.c` does the same for code that is not Python.
"""

import os
import socket
import sys

LOOKUPS = {"socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr"}
CONTACTS = {"socket.connect", "socket.sendto", "socket.sendmsg"}
LOCAL = {None, "", "localhost", "::1", "0.0.0.0", "::"}


def refuse(event: str, arguments: tuple) -> None:
    if event in LOOKUPS:
        host = arguments[0]
    elif event in CONTACTS and isinstance(arguments[1], tuple):  # else a Unix socket's path
        host = arguments[1][0]
    else:
        return
    host = host.decode() if isinstance(host, bytes) else host
    if host in LOCAL or host.startswith("127."):
        return
    log = os.open(os.environ["NETWORK_LOG"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(log, f"{event} {host}\n".encode())
    os.close(log)
    if event in LOOKUPS:
        raise socket.gaierror(socket.EAI_NONAME, "a test forbids name lookups")
    raise OSError(f"a test forbids connections, here to {host}")


sys.addaudithook(refuse)
