"""The Python client as the tests use it: `discover` and `serve`, with what they found or did as a line of JSON.

    drive.py discover [--path P] [--server NAME] [--elsewhere]
    drive.py serve    [--path P] [--server NAME] [--host H] [--extra JSON] [--handler CODE] [--elsewhere]

A server does what it is told on standard input: `again` publishes once more, `remove` removes, `exit` ends it, `raise` ends
it by an exception, `fork` lets a child come and go. `--elsewhere` is a system without /proc; a `--handler` ends the server
with a code on TERM.
"""

import argparse
import http.server
import json
import os
import signal
import socket
import sys
import threading
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent.parent / "clients/python"))
sys.dont_write_bytecode = True

parser = argparse.ArgumentParser()
parser.add_argument("what")
for name in ("--path", "--server", "--extra", "--handler"):
    parser.add_argument(name)
parser.add_argument("--host", default="127.0.0.1")
parser.add_argument("--elsewhere", action="store_true")
args = parser.parse_args()
if args.elsewhere:
    sys.platform = "darwin"

import pierhead  # noqa: E402


class Server(http.server.ThreadingHTTPServer):
    address_family = socket.AF_INET6 if ":" in args.host else socket.AF_INET


def tell(**what):
    print(json.dumps(what), flush=True)


def discover():
    found = pierhead.discover(args.path, args.server)
    tell(file=str(found.file), verdict=found.verdict, reason=found.reason, pid=found.pid, host=found.host, port=found.port, url=found.url)


def serve():
    if args.handler:
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(int(args.handler)))
    server = Server((args.host, 0), http.server.SimpleHTTPRequestHandler)
    threading.Thread(target=server.serve_forever, daemon=True).start()

    def publish(extra):
        host, port = server.server_address[:2]
        return pierhead.publish(port, host, path=args.path, server=args.server, version="1.0.0", extra=extra)

    try:
        publication = publish(json.loads(args.extra or "{}"))
    except pierhead.Taken as taken:
        tell(taken=taken.pid)
        sys.exit(3)
    except OSError as error:
        tell(failed=str(error))
        sys.exit(4)
    tell(port=server.server_port, file=str(publication.file))
    for line in sys.stdin:
        word = line.strip()
        if word == "exit":
            sys.exit(0)
        if word == "raise":
            raise RuntimeError("as told")
        if word == "again":
            publication = publish({"again": True})
        if word == "remove":
            publication.remove()
        if word == "fork" and os.fork() == 0:
            sys.exit(0)
        if word == "fork":
            os.wait()
        tell(did=word)


discover() if args.what == "discover" else serve()
