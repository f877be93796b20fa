from sanic import Sanic, text

app = Sanic("zoo")


@app.get("/")
async def hello(request):
    return text("zoo")
