import http.server, os, signal, sys
signal.signal(signal.SIGUSR1, lambda *_: os._exit(7))
address = ('127.0.0.1', int(os.environ['PORT']))
http.server.ThreadingHTTPServer(address, http.server.SimpleHTTPRequestHandler).serve_forever()
