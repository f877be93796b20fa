import os

from bottle import route, run


@route("/")
def hello():
    return "zoo"


run(host="localhost", port=int(os.environ.get("PORT", 8080)))
