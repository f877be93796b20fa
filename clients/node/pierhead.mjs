/**
 * Finds dev servers by their port files, and publishes one: a client of Pierhead in one file, for Node 18 and newer.
 *
 *     import { discover, publish } from "./pierhead.mjs";
 *
 *     const found = await discover(); // the server of the repo around the working directory
 *     console.log(found.url ?? found.reason);
 *
 *     await publish({ port, version: "1.0.0" }); // in a server, once it listens; the file goes with the process
 *
 * Nothing here needs Pierhead itself, asks a daemon, or signals anybody else. A port file is a claim: it is judged by
 * the rules that Pierhead judges it by, tested against one table of cases.
 *
 * What can be seen differs. On Linux the owner of a port is found as Pierhead finds it, by `/proc/net/tcp{,6}` and the
 * open files of the named process and its descendants (Pierhead itself asks netlink, which is faster). Whether an IPv6
 * wildcard takes IPv4 as well is not in there: for such a server a connection to 127.0.0.1 is tried. Node has no
 * pidfds: a process is told from a later one of its number by its start, in ticks of 10 ms. It has no file locks
 * either: a file that somebody else writes at the same time is never lost, but this one may have to try again. On
 * every other system only this is known: whether the process is alive, and whether anything answers on the port. So
 * nothing is `live` there; a server that answers is `unsure`, and has an address all the same. And a folder that is
 * exchanged for a link between the look at it and its use is followed there.
 *
 * @module
 */

import { randomBytes } from "node:crypto";
import fs from "node:fs";
import net from "node:net";
import os from "node:os";
import path from "node:path";

/**
 * @typedef {import("./pierhead.d.mts").Evidence} Evidence
 * @typedef {import("./pierhead.d.mts").Found} Found
 * @typedef {import("./pierhead.d.mts").Holder} Holder
 * @typedef {import("./pierhead.d.mts").Instance} Instance
 * @typedef {import("./pierhead.d.mts").Listening} Listening
 * @typedef {import("./pierhead.d.mts").PortFile} PortFile
 * @typedef {import("./pierhead.d.mts").ProcessEvidence} ProcessEvidence
 * @typedef {import("./pierhead.d.mts").SocketEvidence} SocketEvidence
 * @typedef {import("./pierhead.d.mts").System} System
 * @typedef {import("./pierhead.d.mts").Verdict} Verdict
 */

const MAX_BYTES = 64 * 1024;
const MAX_PID = 4_194_304;
const WRITER = "pierhead-node/0.1.0";

// ---- the port file

/** Bytes that are no port file; its message says why. */
export class Invalid extends Error {}

const TEXTS = /** @type {const} */ (["started_at", "version", "name", "url", "writer"]);
const KNOWN = new Set(["pid", "port", "host", "instance", ...TEXTS]);

/**
 * Reads a record from bytes of at most 64 KiB. Optional fields of a wrong type count as absent; throws `Invalid`.
 * @param {Uint8Array} data
 * @returns {PortFile}
 */
export function parse(data) {
  if (data.every((byte) => [0, 9, 10, 12, 13, 32].includes(byte))) throw new Invalid("it is empty");
  const fields = membersOf(textOf(data));
  if (fields === undefined) throw new Invalid("it is not a JSON object");
  const pid = numberIn(fields, "pid", 2, MAX_PID);
  const port = numberIn(fields, "port", 1, 65_535);
  if (!fields.has("host")) throw new Invalid("`host` is missing");
  const host = textIn(fields, "host");
  if (host === undefined) throw new Invalid("`host` is not a text");
  const extra = new Map([...fields].filter(([name]) => !KNOWN.has(name)));
  /** @type {PortFile} */
  const record = { pid, port, host, extra };
  for (const name of TEXTS) {
    const text = textIn(fields, name);
    if (text !== undefined) record[name] = text;
  }
  const instance = instanceIn(fields, pid);
  if (instance !== undefined) record.instance = instance;
  return record;
}

/**
 * JSON as strict as Pierhead's: UTF-8 without a mark, finite numbers, whole characters, at most 127 levels.
 * @param {Uint8Array} data
 */
function textOf(data) {
  let text;
  try {
    text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(data);
    JSON.parse(text);
  } catch (error) {
    throw new Invalid(messageOf(error));
  }
  let depth = 0;
  for (const [token] of text.matchAll(TOKEN)) {
    if ("[{".includes(token)) depth += 1;
    if ("]}".includes(token)) depth -= 1;
    if (depth > 127) throw new Invalid("it is nested too deep");
    if (token[0] === '"' && /\p{Surrogate}/u.test(JSON.parse(token))) throw new Invalid("half a character is in it");
    if (/^[-\d]/.test(token) && !Number.isFinite(Number(token))) throw new Invalid("a number is too large");
  }
  return text;
}

const TOKEN = /"(?:[^"\\]|\\.)*"|[[\]{},:]|[^\s[\]{},:"]+/g;

/**
 * The members of a JSON object as they are written, as JavaScript cannot hold all numbers. Nothing for other values.
 * @param {string} text valid JSON
 * @returns {Map<string, string> | undefined}
 */
function membersOf(text) {
  const tokens = [...text.matchAll(TOKEN)];
  if (tokens[0]?.[0] !== "{") return undefined;
  const members = new Map();
  let depth = 0;
  /** @type {string | undefined} */
  let name;
  let begin = 0;
  for (const { 0: token, index = 0 } of tokens) {
    const closes = depth === 1 && (token === "," || token === "}");
    if (closes && name !== undefined) {
      members.set(name, text.slice(begin, index).trim());
      name = undefined;
    } else if (depth === 1 && token === ":" && begin < 0) {
      begin = index + 1;
    } else if (depth === 1 && name === undefined && token[0] === '"') {
      name = JSON.parse(token);
      begin = -1;
    }
    if ("[{".includes(token)) depth += 1;
    if ("]}".includes(token)) depth -= 1;
  }
  return members;
}

/**
 * @param {Map<string, string>} fields
 * @param {string} name
 * @param {number} least
 * @param {number} most
 */
function numberIn(fields, name, least, most) {
  const written = fields.get(name);
  if (written === undefined) throw new Invalid(`\`${name}\` is missing`);
  if (/^(0|[1-9]\d*)$/.test(written)) {
    const number = Number(written);
    if (number >= least && number <= most) return number;
  }
  const shown = written.length <= 40 ? written : `${written.slice(0, 40)}…`;
  throw new Invalid(`${name} ${shown} is not between ${least} and ${most}`);
}

/**
 * @param {Map<string, string>} fields
 * @param {string} name
 * @returns {string | undefined}
 */
function textIn(fields, name) {
  const written = fields.get(name);
  return written?.startsWith('"') ? JSON.parse(written) : undefined;
}

/**
 * @param {Map<string, string>} fields
 * @param {number} pid
 * @returns {Instance | undefined}
 */
function instanceIn(fields, pid) {
  const mark = membersOf(fields.get("instance") ?? "null");
  const boot_id = mark && textIn(mark, "boot_id");
  if (!mark || boot_id === undefined) return undefined;
  /** @type {Instance} */
  const instance = { pid, boot_id };
  for (const name of /** @type {const} */ (["start", "pidfd_inode", "pid_ns"])) {
    const written = mark.get(name) ?? "null";
    if (written === "null" && name !== "start") continue;
    if (!/^(0|[1-9]\d*)$/.test(written) || BigInt(written) >= 2n ** 64n) return undefined;
    instance[name] = BigInt(written);
  }
  return instance;
}

/**
 * The text to write: known fields first, absent ones left out, those of others as they were written.
 * @param {PortFile} record
 */
function written(record) {
  const { pid, instance, extra } = record;
  const lines = [`"pid": ${pid}`, `"port": ${record.port}`, `"host": ${JSON.stringify(record.host)}`];
  const texts = /** @type {const} */ (["started_at", "version", "name", "url"]);
  for (const name of texts) if (record[name] !== undefined) lines.push(`"${name}": ${JSON.stringify(record[name])}`);
  if (instance) {
    const numbers = /** @type {const} */ (["start", "pidfd_inode", "pid_ns"]);
    const told = numbers.filter((name) => instance[name] !== undefined).map((name) => `"${name}": ${instance[name]}`);
    lines.push(`"instance": {${[`"boot_id": ${JSON.stringify(instance.boot_id)}`, ...told].join(", ")}}`);
  }
  if (record.writer !== undefined) lines.push(`"writer": ${JSON.stringify(record.writer)}`);
  for (const [name, value] of extra) lines.push(`${JSON.stringify(name)}: ${value}`);
  return `{\n  ${lines.join(",\n  ")}\n}\n`;
}

// ---- the judge

/** A file written this long before "its" process started names an earlier one. */
const REUSE_MARGIN_MS = 2_000;
const OTHER_NAMESPACE = "written inside another PID namespace";

/**
 * Weighs the evidence. A socket held by the named tree proves the file true whatever its dates say; everything that
 * could not be seen is `unsure`, never `stale`.
 * @param {PortFile} record
 * @param {Evidence} evidence
 * @returns {Verdict}
 */
export function judge({ pid, port, instance: claimed }, { process, sockets, bootId, pidNs, writtenAt }) {
  if (claimed && bootId !== undefined && claimed.boot_id !== bootId) return stale("written before the last boot");
  if (claimed && differ(claimed.pid_ns, pidNs)) return unsure(OTHER_NAMESPACE);
  if (process.is !== "alive") return judgeAbsence(pid, process);
  if (claimed && !isSameLife(claimed, process.instance)) return stale(reused(pid));
  if (sockets.are === "tree") return { word: "live" };
  if (!claimed && startedAfterWriting(process.startedAt, writtenAt)) return stale(reused(pid));
  switch (sockets.are) {
    case "others": {
      const who = sockets.other ? `${sockets.other.command} (pid ${sockets.other.pid})` : "another process";
      return stale(`port ${port} is taken by ${who}`);
    }
    case "nobody":
      return unsure(`alive, but not listening on port ${port}`);
    case "unreadable":
      return unsure(`not permitted to look at process ${sockets.pid}`);
    case "unknown":
      return unsure(`could not look: ${sockets.how}`);
  }
}

/**
 * @param {number} pid
 * @param {Exclude<ProcessEvidence, { is: "alive" }>} process
 * @returns {Verdict}
 */
function judgeAbsence(pid, process) {
  switch (process.is) {
    case "gone":
      return stale(`process ${pid} is gone`);
    case "thread":
      return stale(`${pid} is a thread, not a process`);
    case "zombie":
      return stale(`process ${pid} has ended`);
    // Whoever finds its own number did not write the file: that one has ended.
    case "looker":
      return stale(reused(pid));
    case "elsewhere":
      return unsure(OTHER_NAMESPACE);
    case "unknown":
      return unsure(`could not look: ${process.how}`);
  }
}

/** @param {number} pid */
const reused = (pid) => `pid ${pid} belongs to another process now`;
/** @param {string} reason @returns {Verdict} */
const stale = (reason) => ({ word: "stale", reason });
/** @param {string} reason @returns {Verdict} */
const unsure = (reason) => ({ word: "unsure", reason });

/**
 * True where both are known.
 * @param {unknown} a
 * @param {unknown} b
 */
const differ = (a, b) => a !== undefined && b !== undefined && a !== b;

/**
 * An inode decides where both have one of the same boot.
 * @param {Instance} a
 * @param {Instance} b
 */
function isSameLife(a, b) {
  const marks = /** @type {const} */ (["boot_id", "start", "pidfd_inode"]);
  return a.pid === b.pid && !marks.some((mark) => differ(a[mark], b[mark]));
}

/**
 * @param {number | undefined} startedAt
 * @param {number | undefined} writtenAt
 */
function startedAfterWriting(startedAt, writtenAt) {
  return startedAt !== undefined && writtenAt !== undefined && startedAt > writtenAt + REUSE_MARGIN_MS;
}

// ---- addresses

/**
 * The loopback address that reaches a socket; nothing for one that is not this machine's loopback.
 * @param {string} bound
 */
function connectHost(bound) {
  const mapped = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(bound)?.[1];
  if (mapped !== undefined) return isLoopback(mapped) ? mapped : undefined;
  if (bound === "0.0.0.0") return "127.0.0.1";
  if (bound === "::") return "::1";
  return isLoopback(bound) ? bound : undefined;
}

/** @param {string} address */
const isLoopback = (address) => address === "::1" || (net.isIPv4(address) && address.startsWith("127."));

/**
 * The loopback URL that reaches a socket; nothing for one that is not this machine's loopback.
 * @param {string} address
 * @param {number} port
 */
export function urlOf(address, port) {
  const host = connectHost(address);
  return host === undefined ? undefined : format(host, port);
}

/**
 * @param {string} host
 * @param {number} port
 */
const format = (host, port) => (net.isIPv6(host) ? `http://[${host}]:${port}/` : `http://${host}:${port}/`);

/**
 * @param {string} host
 * @param {number} port
 * @returns {Promise<boolean>}
 */
function answers(host, port) {
  return new Promise((resolve) => {
    const end = (/** @type {boolean} */ answer) => {
      resolve(answer);
      connection.destroy();
    };
    const connection = net.connect({ host, port });
    connection.setTimeout(1000, () => end(false));
    connection.on("connect", () => end(true)).on("error", () => end(false));
  });
}

// ---- the evidence

const LOCALHOSTS = ["127.0.0.1", "::1"];

/**
 * Any system without `/proc`: it knows who is alive and what answers.
 * @type {System}
 */
const ELSEWHERE = {
  seesOwners: false,
  bootId: () => undefined,
  pidNamespace: () => undefined,
  ownPid: () => process.pid,
  look: (pid) => (isAlive(pid) ? { is: "alive", instance: { pid } } : { is: "gone" }),
  innerPid: () => undefined,
  async listening(port) {
    for (const host of LOCALHOSTS) {
      if (await answers(host, port)) throw new Error("something answers, and this system does not tell who");
    }
    return [];
  },
  ownedBy: () => ({ held: [] }),
  descendants: () => [],
  holderOf: () => undefined,
};

/** @param {number} pid */
function isAlive(pid) {
  try {
    process.kill(pid, 0); // sends nothing
    return true;
  } catch (error) {
    return codeOf(error) !== "ESRCH"; // EPERM: another user's, and alive
  }
}

/** Ticks a second, the same on every architecture that Node runs on. */
const TICKS = 100;
/** When the clock was put forward, files written before seem older than they are: the earliest boot seen counts. */
let bootMs = Infinity;

/**
 * Linux, by `/proc`.
 * @type {System}
 */
const LINUX = {
  seesOwners: true,
  bootId: () => orElse("", () => read("/proc/sys/kernel/random/boot_id").trim()),
  pidNamespace: () => orElse(undefined, () => fs.statSync("/proc/self/ns/pid", { bigint: true }).ino),
  ownPid: () => process.pid,
  look(pid) {
    try {
      return lookAt(pid);
    } catch (error) {
      if (!isGone(error)) return { is: "unknown", how: messageOf(error) };
      // Where `/proc` hides the processes of others, it is only not to be seen.
      return isAlive(pid) ? { is: "unknown", how: `process ${pid} is hidden` } : { is: "gone" };
    }
  },
  innerPid(pid) {
    const line = orElse("", () => /^NSpid:(.*)/m.exec(read(`/proc/${pid}/status`))?.[1] ?? "");
    const numbers = line.split(/\s+/).filter(Boolean);
    return numbers.length > 1 ? Number(numbers.at(-1)) : undefined;
  },
  async listening(port) {
    const found = socketsIn("/proc/net/tcp", port).concat(orElse([], () => socketsIn("/proc/net/tcp6", port)));
    const isUnclear = found.some((each) => each.address === "::") && found.every((each) => net.isIPv6(each.address));
    if (!isUnclear || !(await answers("127.0.0.1", port))) return found;
    return found.map((each) => (each.address === "::" ? { ...each, address: "0.0.0.0" } : each));
  },
  ownedBy(pids, sockets) {
    /** @type {Map<string, [Listening, number]>} */
    const owned = new Map();
    let unreadable;
    for (const pid of pids) {
      try {
        const inodes = socketInodes(pid);
        for (const each of sockets) if (inodes.has(each.id) && !owned.has(each.id)) owned.set(each.id, [each, pid]);
      } catch (error) {
        // Else it has ended: what has ended holds nothing.
        if (["EACCES", "EPERM"].includes(codeOf(error) ?? "")) unreadable = pid;
      }
    }
    return unreadable === undefined ? { held: [...owned.values()] } : { held: [...owned.values()], unreadable };
  },
  descendants(root) {
    const found = [root];
    for (const pid of found) for (const child of childrenOf(pid)) if (!found.includes(child)) found.push(child);
    return found.slice(1);
  },
  holderOf(socket) {
    const pids = fs.readdirSync("/proc").filter((name) => /^\d+$/.test(name)).map(Number);
    const pid = pids.sort((a, b) => a - b).find((each) => orElse(false, () => socketInodes(each).has(socket.id)));
    return pid === undefined ? undefined : { pid, command: commandOf(pid) };
  },
};

const SYSTEM = process.platform === "linux" ? LINUX : ELSEWHERE;

/**
 * @param {number} pid
 * @returns {ProcessEvidence}
 */
function lookAt(pid) {
  // A thread has a folder as well, which is only not listed.
  const group = /^Tgid:\s*(\d+)/m.exec(read(`/proc/${pid}/status`))?.[1];
  if (group !== undefined && Number(group) !== pid) return { is: "thread" };
  const before = statOf(pid);
  // A leader that has ended is a zombie while other threads of it may hold the port.
  if (before.state === "Z" && before.threads <= 1) return { is: "zombie" };
  if (before.state === "X") return { is: "gone" };
  /** @type {Instance} */
  const instance = { pid, start: before.start, boot_id: LINUX.bootId() ?? "" };
  const namespace = LINUX.pidNamespace();
  if (namespace !== undefined) instance.pid_ns = namespace;
  const uptimeMs = Math.floor(Number(read("/proc/uptime").split(" ")[0]) * 1000);
  bootMs = Math.min(bootMs, Date.now() - uptimeMs);
  return { is: "alive", instance, startedAt: bootMs + Math.floor((Number(before.start) * 1000) / TICKS) };
}

/**
 * State, number of threads and start. The name may hold spaces and parentheses: it ends at the last one.
 * @param {number} pid
 */
function statOf(pid) {
  const text = read(`/proc/${pid}/stat`);
  const fields = text.slice(text.lastIndexOf(")") + 1).trim().split(/\s+/);
  const start = fields[19];
  if (start === undefined) throw new Error(`\`/proc/${pid}/stat\` is not as expected`);
  return { state: fields[0], threads: Number(fields[17]), start: BigInt(start) };
}

/**
 * @param {string} file
 * @param {number} port
 * @returns {Listening[]}
 */
function socketsIn(file, port) {
  const rows = read(file).split("\n").slice(1).map((line) => line.trim().split(/\s+/));
  return rows.flatMap(([, local = "", , state, , , , , , inode]) => {
    const [digits = "", itsPort = ""] = local.split(":");
    // 0A: TCP_LISTEN.
    const isIt = state === "0A" && inode !== undefined && parseInt(itsPort, 16) === port;
    return isIt ? [{ address: addressOf(digits), port, id: inode }] : [];
  });
}

/**
 * `0100007F`: words of 32 bits, each in the machine's byte order.
 * @param {string} digits
 */
function addressOf(digits) {
  const bytes = Buffer.from(digits, "hex");
  if (os.endianness() === "LE") bytes.swap32();
  if (bytes.length === 4) return bytes.join(".");
  const words = Array.from({ length: 8 }, (_, at) => bytes.readUInt16BE(2 * at).toString(16));
  const isMapped = words.slice(0, 6).join() === "0,0,0,0,0,ffff";
  if (isMapped) return `::ffff:${bytes.subarray(12).join(".")}`;
  // As every other program writes it: the URL parser shortens runs of zeros.
  return new URL(`http://[${words.join(":")}]/`).hostname.slice(1, -1);
}

/** @param {number} pid */
function socketInodes(pid) {
  const folder = `/proc/${pid}/fd`;
  const targets = fs.readdirSync(folder).map((name) => orElse("", () => fs.readlinkSync(`${folder}/${name}`)));
  return new Set(targets.flatMap((target) => /^socket:\[(\d+)\]$/.exec(target)?.[1] ?? []));
}

/** @param {number} pid */
function childrenOf(pid) {
  const tasks = orElse([], () => fs.readdirSync(`/proc/${pid}/task`));
  const lists = tasks.map((task) => orElse("", () => read(`/proc/${pid}/task/${task}/children`)));
  return lists.flatMap((list) => list.split(/\s+/).filter(Boolean).map(Number));
}

/** @param {number} pid */
function commandOf(pid) {
  const words = orElse("", () => read(`/proc/${pid}/cmdline`)).split("\0").filter(Boolean);
  const name = words.length > 0 ? words.join(" ") : orElse("", () => `[${read(`/proc/${pid}/comm`).trim()}]`);
  return name === "" ? "an unknown command" : [...name.replace(/\p{Cc}/gu, " ")].slice(0, 200).join("");
}

/** @param {string} file */
const read = (file) => fs.readFileSync(file, "utf8");

/**
 * @template T
 * @param {T} otherwise
 * @param {() => T} act
 */
function orElse(otherwise, act) {
  try {
    return act();
  } catch {
    return otherwise;
  }
}

/** @param {unknown} error */
const codeOf = (error) => /** @type {NodeJS.ErrnoException} */ (error)?.code;
/** @param {unknown} error */
const isGone = (error) => ["ENOENT", "ESRCH"].includes(codeOf(error) ?? "");
/** @param {unknown} error */
const messageOf = (error) => (error instanceof Error ? error.message : String(error));

/**
 * Looks at what a record claims.
 * @param {PortFile} record
 * @param {number | undefined} writtenAt
 * @param {System} [system]
 * @returns {Promise<Evidence>}
 */
export async function evidenceOf(record, writtenAt, system = SYSTEM) {
  let process = system.look(record.pid);
  /** @type {SocketEvidence} */
  let sockets = { are: "nobody" };
  if (process.is === "alive") {
    sockets = await socketsOf(process.instance, record.port, system);
    const other = sockets.are === "others" ? sockets.other : undefined;
    if (other !== undefined && system.innerPid(other.pid) === record.pid) process = { is: "elsewhere" };
    else if (record.pid === system.ownPid() && !record.instance && sockets.are !== "tree") process = { is: "looker" };
  } else if (process.is === "gone" && (await isElsewhere(record, system))) {
    process = { is: "elsewhere" };
  }
  /** @type {Evidence} */
  const evidence = { process, sockets };
  const [bootId, pidNs] = [system.bootId(), system.pidNamespace()];
  if (bootId !== undefined) evidence.bootId = bootId;
  if (pidNs !== undefined) evidence.pidNs = pidNs;
  if (writtenAt !== undefined) evidence.writtenAt = writtenAt;
  return evidence;
}

/**
 * No such number here; it may be one inside a container whose port is seen from outside.
 * @param {PortFile} record
 * @param {System} system
 */
async function isElsewhere(record, system) {
  const [first] = await system.listening(record.port).catch(() => []);
  const holder = first && system.holderOf(first);
  return holder !== undefined && system.innerPid(holder.pid) === record.pid;
}

/**
 * @param {Instance} instance
 * @param {number} port
 * @param {System} system
 * @returns {Promise<SocketEvidence>}
 */
async function socketsOf(instance, port, system) {
  let onPort;
  try {
    onPort = await system.listening(port);
  } catch (error) {
    return { are: "unknown", how: messageOf(error) };
  }
  const [first] = onPort;
  if (first === undefined) return { are: "nobody" };
  // The named process is the owner nearly always: its descendants are asked only when it is not.
  let owned = system.ownedBy([instance.pid], onPort);
  if (owned.held.length === 0) owned = system.ownedBy([instance.pid, ...system.descendants(instance.pid)], onPort);
  const [found, pid] = owned.held.find(([each]) => net.isIPv4(each.address)) ?? owned.held[0] ?? [];
  if (found !== undefined && pid !== undefined) {
    const owner = system.look(pid);
    if (owner.is !== "alive") return { are: "unknown", how: "its owner ended meanwhile" };
    return { are: "tree", holder: { address: found.address, port, owner: owner.instance } };
  }
  if (owned.unreadable !== undefined) return { are: "unreadable", pid: owned.unreadable };
  const other = system.holderOf(first);
  return other === undefined ? { are: "others" } : { are: "others", other };
}

// ---- files

const FILE = "server.json";
const FOLDER = ".pm";
const NAME = /^[A-Za-z0-9_][A-Za-z0-9._@-]{0,63}$/;
/** Others write non-atomically: a file that does not parse is read again for so long. */
const TORN_FOR_MS = 1000;

// Windows has neither.
const { O_RDONLY, O_WRONLY, O_CREAT, O_EXCL, O_NOFOLLOW = 0, O_NONBLOCK = 0, O_DIRECTORY = 0 } = fs.constants;

/** Stands for whatever file is there: this process's own, or one that is no port file. */
const ANY = "";

/** What is there is nothing that a port file can be; its message says what it is. */
class Unreadable extends Error {}

/**
 * Where a port file is: a folder that may be reached by links, and folders below it that may be none.
 * @typedef {{ base: string, below: string[] }} Spot
 */

/** @param {Spot} spot */
const fileOf = ({ base, below }) => path.join(base, ...below, FILE);

/**
 * An open folder. On Linux everything in it is named by its number in `/proc`, so that nobody exchanges a part of the
 * way for a link; elsewhere each part is looked at first.
 */
class Folder {
  /**
   * @param {string} place
   * @param {number | undefined} fd
   */
  constructor(place, fd) {
    this.place = place;
    this.fd = fd;
  }

  /**
   * @template T
   * @param {Spot} spot
   * @param {{ make: boolean }} how
   * @param {(folder: Folder) => T} act
   * @returns {T}
   */
  static with(spot, { make }, act) {
    if (make && spot.below.length === 0) fs.mkdirSync(spot.base, { recursive: true, mode: 0o700 });
    let folder = Folder.#open(spot.base, 0);
    try {
      for (const name of spot.below) {
        const inner = folder.#enter(name, make);
        folder.close();
        folder = inner;
        // What is in it is of this machine and this moment.
        if (make && name === FOLDER) unless("EEXIST", () => folder.create(".gitignore", "*\n"));
      }
      return act(folder);
    } finally {
      folder.close();
    }
  }

  /**
   * @param {string} place
   * @param {number} flags
   */
  static #open(place, flags) {
    if (process.platform !== "linux") return new Folder(place, undefined);
    const fd = translated(() => fs.openSync(place, O_RDONLY | O_DIRECTORY | flags));
    return new Folder(`/proc/self/fd/${fd}`, fd);
  }

  /**
   * @param {string} name
   * @param {boolean} make
   */
  #enter(name, make) {
    if (make) unless("EEXIST", () => fs.mkdirSync(this.at(name), 0o700));
    const kind = fs.lstatSync(this.at(name));
    if (kind.isSymbolicLink()) throw new Unreadable("it is a symbolic link");
    if (!kind.isDirectory()) throw new Unreadable("it is not a regular file");
    return Folder.#open(this.at(name), O_NOFOLLOW);
  }

  close() {
    if (this.fd !== undefined) fs.closeSync(this.fd);
    this.fd = undefined;
  }

  /** @param {string} name */
  at(name) {
    return path.join(this.place, name);
  }

  /** A regular file of at most 64 KiB. Never waits, never follows a link. */
  read() {
    const { fd, stamp, size } = this.#openFile(FILE);
    try {
      const data = Buffer.alloc(MAX_BYTES + 1);
      let length = size > MAX_BYTES ? size : 0;
      while (length <= MAX_BYTES) {
        const more = fs.readSync(fd, data, length, data.length - length, null);
        if (more === 0) return { data: data.subarray(0, length), stamp };
        length += more;
      }
      throw new Unreadable(`it is ${length} bytes long, more than ${MAX_BYTES}`);
    } finally {
      fs.closeSync(fd);
    }
  }

  /** @param {string} name */
  #openFile(name) {
    if (!O_NOFOLLOW && fs.lstatSync(this.at(name)).isSymbolicLink()) throw new Unreadable("it is a symbolic link");
    const fd = translated(() => fs.openSync(this.at(name), O_RDONLY | O_NOFOLLOW | O_NONBLOCK));
    const kind = fs.fstatSync(fd, { bigint: true });
    if (!kind.isFile()) {
      fs.closeSync(fd);
      throw new Unreadable("it is not a regular file");
    }
    const id = [kind.dev, kind.ino, kind.size, kind.mtimeNs].join(" ");
    return { fd, stamp: { id, modified: Number(kind.mtimeNs / 1_000_000n) }, size: Number(kind.size) };
  }

  /**
   * @param {string} name
   * @param {string} text
   */
  create(name, text) {
    const fd = fs.openSync(this.at(name), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0o600);
    try {
      fs.writeFileSync(fd, text);
    } catch (error) {
      fs.unlinkSync(this.at(name));
      throw error;
    } finally {
      fs.closeSync(fd);
    }
  }

  /**
   * Writes the file whole, mode 0600, in place of the one that was judged: a reader never sees a part. False when
   * another one is there by now.
   * @param {string} text
   * @param {string | undefined} judged its stamp, `ANY`, or nothing where there was none
   */
  put(text, judged) {
    const temp = tempName();
    this.create(temp, text);
    try {
      if (judged === ANY) {
        fs.renameSync(this.at(temp), this.at(FILE));
        return true;
      }
      if (judged !== undefined && !this.removeIf(judged)) return false;
      return this.#putNew(temp);
    } finally {
      unless("ENOENT", () => fs.unlinkSync(this.at(temp)));
    }
  }

  /**
   * A link fails where a rename would overwrite.
   * @param {string} temp
   */
  #putNew(temp) {
    try {
      fs.linkSync(this.at(temp), this.at(FILE));
      return true;
    } catch (error) {
      if (codeOf(error) === "EEXIST") return false;
    }
    // A file system without links.
    fs.renameSync(this.at(temp), this.at(FILE));
    return true;
  }

  /**
   * Removes the file if it is still that one. It is renamed aside before it is compared, so that one written in the
   * meantime is put back and never lost. False when another one is there.
   * @param {string} id
   */
  removeIf(id) {
    const found = this.#stamp(FILE);
    if (found === undefined) return true;
    if (found !== id) return false;
    const aside = tempName();
    if (!unless("ENOENT", () => fs.renameSync(this.at(FILE), this.at(aside)))) return true;
    const isIt = this.#stamp(aside) === id;
    if (!isIt) orElse(undefined, () => fs.linkSync(this.at(aside), this.at(FILE)));
    fs.unlinkSync(this.at(aside));
    return isIt;
  }

  /** @param {string} name */
  #stamp(name) {
    try {
      const { fd, stamp } = this.#openFile(name);
      fs.closeSync(fd);
      return stamp.id;
    } catch (error) {
      return isGone(error) ? undefined : "what cannot be a port file";
    }
  }
}

/** Not to be guessed, so that nobody plants a link there first. */
const tempName = () => `.${FILE}.${randomBytes(8).toString("hex")}`;

/**
 * False when it failed for the one reason that does not matter.
 * @param {string} code
 * @param {() => void} act
 */
function unless(code, act) {
  try {
    act();
    return true;
  } catch (error) {
    if (codeOf(error) === code) return false;
    throw error;
  }
}

/** @param {() => number} open */
function translated(open) {
  try {
    return open();
  } catch (error) {
    if (["ELOOP", "EMLINK"].includes(codeOf(error) ?? "")) throw new Unreadable("it is a symbolic link");
    if (["ENOTDIR", "ENXIO", "EISDIR"].includes(codeOf(error) ?? "")) throw new Unreadable("it is not a regular file");
    throw error;
  }
}

// ---- looking

/**
 * @typedef {{ id: string, modified: number }} Stamp
 * @typedef {{ verdict: Verdict, record?: PortFile, stamp?: Stamp, holder?: Holder, torn?: number }} Sight
 */

/**
 * Reads and judges a file as it stands; nothing when there is none. `torn` is when one that does not parse was written.
 * @param {Spot} spot
 * @param {System} system
 * @returns {Promise<Sight | undefined>}
 */
async function lookOnce(spot, system) {
  let bytes;
  try {
    bytes = Folder.with(spot, { make: false }, (folder) => folder.read());
  } catch (error) {
    if (codeOf(error) === "ENOENT") return undefined;
    if (error instanceof Unreadable) return { verdict: stale(`invalid: ${error.message}`) };
    return { verdict: unsure(`could not look: ${messageOf(error)}`) };
  }
  const { data, stamp } = bytes;
  let record;
  try {
    record = parse(data);
  } catch (error) {
    return { verdict: stale(`invalid: ${messageOf(error)}`), torn: stamp.modified };
  }
  const evidence = await evidenceOf(record, stamp.modified, system);
  const verdict = judge(record, evidence);
  const { sockets } = evidence;
  const isLive = verdict.word === "live" && sockets.are === "tree";
  return isLive ? { verdict, record, stamp, holder: sockets.holder } : { verdict, record, stamp };
}

/**
 * @param {Spot} spot
 * @param {System} system
 */
async function look(spot, system) {
  const end = performance.now() + TORN_FOR_MS;
  for (;;) {
    const sight = await lookOnce(spot, system);
    if (sight?.torn === undefined) return sight;
    // Its writer has had the time to finish it: what it is now is what it was meant to be.
    if (Math.abs(Date.now() - sight.torn) >= TORN_FOR_MS || performance.now() >= end) return sight;
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

/**
 * Looks for the server of a directory (the working directory, if none is given): in `$PM_CONFIG_DIR` if that is set and
 * no server is named, else in `.pm` at the git top level around it, else in its own `.pm`. A file that does not parse
 * is read again for up to a second.
 * @param {import("./pierhead.d.mts").Where} [where]
 * @returns {Promise<Found>}
 */
export async function discover({ path: directory, server } = {}) {
  const top = topOf(directory);
  const folder = process.env.PM_CONFIG_DIR;
  if (server === undefined) return found(folder ? { base: folder, below: [] } : { base: top, below: [FOLDER] });
  const named = await found(spotOf(top, server));
  if (named.verdict !== undefined) return named;
  // The default server's file is one level up, whatever its name.
  const standard = await found({ base: top, below: [FOLDER] });
  return standard.record?.name === server ? standard : named;
}

/**
 * Where owners cannot be seen: what answers at the address that is claimed. Undefined where they can.
 * @param {Sight} sight
 */
async function claimedHost({ verdict, record }) {
  if (SYSTEM.seesOwners || verdict.word !== "unsure" || record === undefined) return undefined;
  for (const host of new Set([connectHost(record.host), ...LOCALHOSTS])) {
    if (host !== undefined && (await answers(host, record.port))) return host;
  }
  return undefined;
}

/**
 * @param {Spot} spot
 * @returns {Promise<Found>}
 */
async function found(spot) {
  const file = fileOf(spot);
  const sight = await look(spot, SYSTEM);
  if (sight === undefined) return { file, reason: "there is no port file" };
  const { verdict, record, holder } = sight;
  /** @type {Found} */
  const all = { file, verdict: verdict.word };
  if (verdict.reason !== undefined) all.reason = verdict.reason;
  if (record !== undefined) all.record = record;
  const host = holder ? connectHost(holder.address) : await claimedHost(sight);
  const [pid, port] = holder ? [holder.owner.pid, holder.port] : [record?.pid, record?.port];
  if (holder && host === undefined) {
    const reason = `it listens on ${holder.address}, which is not this machine's own loopback address`;
    return { ...all, reason, pid: holder.owner.pid, port: holder.port };
  }
  return host === undefined || pid === undefined || port === undefined
    ? all
    : { ...all, pid, host, port, url: format(host, port) };
}

/**
 * The git top level that holds a directory, or itself when none does. A worktree's `.git` is a file and counts.
 * @param {string} [directory]
 */
function topOf(directory = ".") {
  const start = path.resolve(directory);
  for (let each = start; ; each = path.dirname(each)) {
    if (fs.existsSync(path.join(each, ".git"))) return each;
    if (path.dirname(each) === each) return start;
  }
}

/**
 * @param {string} top
 * @param {string} server
 * @returns {Spot}
 */
function spotOf(top, server) {
  if (!NAME.test(server)) throw new RangeError(`\`${server}\` is no server's name`);
  return { base: top, below: [FOLDER, "servers", server] };
}

// ---- publishing

/** A live port file of another process is there. */
export class Taken extends Error {
  /**
   * @param {string} file
   * @param {number} pid
   */
  constructor(file, pid) {
    super(`\`${file}\`: a live one of process ${pid} is there`);
    this.file = file;
    this.pid = pid;
  }
}

/** @type {Set<() => void>} */
const removals = new Set();

/**
 * Publishes that this process listens on `port` of the address `host`. Call it once the socket is bound: readers look
 * for its owner. The file is in `$PM_CONFIG_DIR` if that is set, else in `.pm` at the git top level around `path` (the
 * working directory, if none is given), for a named `server` in its folder there. Fields of others in a file that is
 * there are kept. Throws `Taken` when that is live and another process's.
 *
 * The file goes with `remove()` or with the process: at its normal end, and by the signals INT, TERM, HUP and QUIT
 * where nothing else listens to them, which then end it as they would have. After a KILL it stays, and every reader
 * sees that it is stale.
 * @param {import("./pierhead.d.mts").Announcement} announcement
 * @returns {Promise<import("./pierhead.d.mts").Publication>}
 */
export async function publish({ path: directory, server, name = server, ...rest }) {
  const folder = process.env.PM_CONFIG_DIR;
  const top = topOf(directory);
  /** @type {Spot} */
  const standard = folder ? { base: folder, below: [] } : { base: top, below: [FOLDER] };
  const spot = folder || server === undefined ? standard : spotOf(top, server);
  const own = ownRecord({ ...rest, ...(name === undefined ? {} : { name }) });
  const remove = () => {
    removals.delete(remove);
    withdraw(spot);
  };
  // Before the file is there: a signal in between must find it.
  removals.add(remove);
  endWithTheProcess();
  try {
    return { file: fileOf(spot), record: await write(spot, own), remove };
  } catch (error) {
    removals.delete(remove);
    throw error;
  }
}

/**
 * @param {import("./pierhead.d.mts").Announcement} announcement
 * @returns {PortFile}
 */
function ownRecord({ port, host = "127.0.0.1", version, name, extra = {} }) {
  const isPort = Number.isInteger(port) && port >= 1 && port <= 65_535;
  if (!isPort) throw new RangeError(`port ${port} is not between 1 and 65535`);
  if (!net.isIP(host)) throw new RangeError(`\`${host}\` is no address`);
  const known = Object.keys(extra).find((field) => KNOWN.has(field));
  if (known !== undefined) throw new RangeError(`\`${known}\` is no extra field`);
  const reached = connectHost(host) ?? host;
  const fields = Object.entries(extra).map(([field, value]) => /** @type {const} */ ([field, JSON.stringify(value)]));
  /** @type {PortFile} */
  const record = {
    pid: process.pid,
    port,
    host: reached,
    started_at: new Date().toISOString().replace(/\.\d+Z$/, "Z"),
    url: format(reached, port),
    writer: WRITER,
    extra: new Map(fields.filter(([, value]) => value !== undefined)),
  };
  if (version !== undefined) record.version = version;
  if (name !== undefined) record.name = name;
  const seen = SYSTEM.look(process.pid);
  if (seen.is === "alive" && seen.instance.start !== undefined) record.instance = seen.instance;
  return record;
}

/**
 * @param {Spot} spot
 * @param {PortFile} own
 * @returns {Promise<PortFile>}
 */
async function write(spot, own) {
  for (let attempt = 0; attempt < 100; attempt += 1) {
    const sight = await look(spot, SYSTEM);
    const other = sight?.record;
    const isOwn = other?.pid === own.pid;
    if (sight !== undefined && other !== undefined && !isOwn) {
      // Where owners cannot be seen, what answers is believed to be what it claims: its file is not ours to take.
      const mayServe = sight.verdict.word === "live" || (await claimedHost(sight)) !== undefined;
      if (mayServe) throw new Taken(fileOf(spot), other.pid);
    }
    const record = { ...own, extra: new Map([...(other?.extra ?? []), ...own.extra]) };
    const judged = sight && (isOwn || sight.stamp === undefined ? ANY : sight.stamp.id);
    try {
      if (Folder.with(spot, { make: true }, (folder) => folder.put(written(record), judged))) return record;
    } catch (error) {
      throw error instanceof Unreadable ? new Error(`\`${fileOf(spot)}\`: ${error.message}`) : error;
    }
  }
  throw new Error(`\`${fileOf(spot)}\`: others write it all the time`);
}

/** @param {Spot} spot */
function withdraw(spot) {
  // What cannot be read is not ours; what cannot be removed is seen to be stale.
  orElse(undefined, () =>
    Folder.with(spot, { make: false }, (folder) => {
      const { data, stamp } = folder.read();
      if (parse(data).pid === process.pid) folder.removeIf(stamp.id);
    }),
  );
}

const SIGNALS = /** @type {const} */ (["SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT", "SIGBREAK"]);
let isListening = false;

function endWithTheProcess() {
  if (isListening) return;
  isListening = true;
  const removeAll = () => [...removals].forEach((remove) => remove());
  process.on("exit", removeAll);
  for (const signal of SIGNALS.filter((each) => each in os.constants.signals)) {
    const end = () => {
      // Whatever else listens ends the process in its own way, past `exit`, or does not end it at all.
      if (process.listenerCount(signal) > 1) return;
      removeAll();
      process.removeListener(signal, end);
      process.kill(process.pid, signal);
    };
    process.on(signal, end);
  }
}
