import os

from waitress import serve

from shop import app

serve(app, port=int(os.environ.get("PORT", 8080)))
