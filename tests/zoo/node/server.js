const http = require("node:http");
const port = process.env.PORT || 3000;
http.createServer((_, answer) => answer.end("zoo")).listen(port, () => console.log(`http://localhost:${port}`));
