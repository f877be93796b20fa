// What a user of the Node client writes, for `tsc`; each line behind `@ts-expect-error` must not compile.

import { Invalid, Taken, discover, judge, parse, publish } from "./pierhead.mjs";
import type { Found, Instance, PortFile, Publication } from "./pierhead.mjs";

const found: Found = await discover();
const named = await discover({ path: "/", server: "web" });
const where: string = found.url ?? named.reason ?? found.file;
if (found.verdict === "live" && found.port !== undefined) console.log(found.port.toFixed(), where);

const publication: Publication = await publish({ port: 8000, version: "1.0.0", extra: { theirs: [1] } });
publication.remove();
const record: PortFile = parse(new Uint8Array());
const start: bigint | undefined = record.instance?.start;
const verdict = judge(record, { process: { is: "gone" }, sockets: { are: "nobody" } });
console.log(verdict.word, verdict.reason, start);
try {
  parse(new Uint8Array());
} catch (error) {
  if (error instanceof Taken) console.log(error.pid + 1);
  if (error instanceof Invalid) console.log(error.message);
}

// @ts-expect-error a port is needed
await publish({ version: "1.0.0" });
// @ts-expect-error a port is a number
await publish({ port: "8000" });
// @ts-expect-error there may be no address
const url: string = found.url;
// @ts-expect-error a verdict has three words
if (found.verdict === "dead") console.log(url);
// @ts-expect-error a start may be beyond what a number holds
const instance: Instance = { pid: 2, start: 700 };
// @ts-expect-error what is alive is somebody
judge(record, { process: { is: "alive" }, sockets: { are: "nobody" } });
console.log(instance);
