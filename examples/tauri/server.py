"""The server that the app brings along: any program that listens on the port in PORT would do."""
import http.server
import os

class Hello(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = f"Hello from process {os.getpid()}.\n".encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/plain")
        self.send_header("Content-Length", str(len(body)))
        # For the app's own page and no other.
        self.send_header("Access-Control-Allow-Origin", "tauri://localhost")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass

# One that takes its time: HARBOUR_GATE names a FIFO, whose writer decides when it may begin.
gate = os.environ.get("HARBOUR_GATE")
if gate:
    open(gate).read()
http.server.ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Hello).serve_forever()
