const http = require("http");
http.createServer((_, answer) => answer.end("api")).listen(process.env.PORT || 4000);
