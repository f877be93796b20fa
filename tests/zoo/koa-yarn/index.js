const Koa = require("koa");
new Koa().use((context) => (context.body = "zoo")).listen(process.env.PORT || 3000);
