const express = require("express");
const app = express();
const port = process.env.PORT ?? 3000;
app.get("/", (request, answer) => answer.send("zoo"));
app.listen(port, () => console.log(`http://localhost:${port}`));
