SECRET_KEY = "of no use to anybody"
DEBUG = True
ROOT_URLCONF = "mysite.urls"
INSTALLED_APPS = ["daphne"]
ASGI_APPLICATION = "mysite.asgi.application"
