from litestar import Litestar, get


@get("/")
async def hello() -> str:
    return "zoo"


app = Litestar([hello])
