const express = require("express");
const app = express();
app.get("/", (request, answer) => answer.send("zoo"));
app.listen(process.env.PORT || 3000);
