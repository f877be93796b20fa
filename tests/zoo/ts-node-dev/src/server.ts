import * as http from "http";

http.createServer((_, answer) => answer.end("zoo")).listen(Number(process.env.PORT || 3000));
