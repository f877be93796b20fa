import os
from wsgiref.simple_server import make_server


def app(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"zoo"]


if __name__ == "__main__":
    make_server("127.0.0.1", int(os.environ.get("PORT", 8000)), app).serve_forever()
