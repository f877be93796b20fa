// The Node client as the tests use it; see drive.py, which takes the same arguments and lines.

import { once } from "node:events";
import http from "node:http";
import readline from "node:readline";
import { parseArgs } from "node:util";

const text = { type: "string" };
const { values: args, positionals } = parseArgs({
  allowPositionals: true,
  options: { path: text, server: text, host: text, extra: text, handler: text, elsewhere: { type: "boolean" } },
});
if (args.elsewhere) Object.defineProperty(process, "platform", { value: "darwin" });
const pierhead = await import("../../clients/node/pierhead.mjs");
const tell = (what) => console.log(JSON.stringify(what));
const where = { path: args.path, server: args.server };

async function discover() {
  const { file, verdict = null, reason = null, pid = null, host = null, port = null, url = null } = await pierhead.discover(where);
  tell({ file, verdict, reason, pid, host, port, url });
}

async function serve() {
  if (args.handler) process.on("SIGTERM", () => process.exit(Number(args.handler)));
  const server = http.createServer((request, response) => response.end("hello\n"));
  server.listen(0, args.host ?? "127.0.0.1");
  await once(server, "listening");
  const { address, port } = server.address();
  const publish = (extra) => pierhead.publish({ ...where, port, host: address, version: "1.0.0", extra });
  let publication;
  try {
    publication = await publish(JSON.parse(args.extra ?? "{}"));
  } catch (error) {
    tell(error instanceof pierhead.Taken ? { taken: error.pid } : { failed: error.message });
    process.exit(error instanceof pierhead.Taken ? 3 : 4);
  }
  tell({ port, file: publication.file });
  for await (const word of readline.createInterface({ input: process.stdin })) {
    if (word === "exit") process.exit(0);
    if (word === "raise") throw new Error("as told");
    if (word === "again") publication = await publish({ again: true });
    if (word === "remove") publication.remove();
    tell({ did: word });
  }
}

await (positionals[0] === "discover" ? discover() : serve());
