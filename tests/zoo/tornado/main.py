import asyncio
import os

import tornado.web


class Zoo(tornado.web.RequestHandler):
    def get(self):
        self.write("zoo")


async def main():
    tornado.web.Application([("/", Zoo)]).listen(int(os.environ.get("PORT", 8888)))
    await asyncio.Event().wait()


asyncio.run(main())
