import http from "node:http";

const port: number = Number(process.env.PORT ?? 3000);
http.createServer((_, answer) => answer.end("zoo")).listen(port);
