"""Stands in for FineCode's workspace manager, which no package on PyPI has: an empty file first, then the port as a plain
number, every connection a client."""

import pathlib
import socket
import sys

path = pathlib.Path(".venv/cache/finecode/wm_port")
path.parent.mkdir(parents=True, exist_ok=True)
path.write_bytes(b"")
server = socket.create_server(("127.0.0.1", 0))
path.write_text(str(server.getsockname()[1]))
print(sys.argv[1:], "serves", flush=True)
clients = []
while True:
    clients.append(server.accept()[0])
    print(f"client {len(clients)}", flush=True)
