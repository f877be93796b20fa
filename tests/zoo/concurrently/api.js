import express from "express";

const app = express();
app.get("/api/hello", (request, answer) => answer.json({ zoo: true }));
app.listen(process.env.API_PORT || 4000);
