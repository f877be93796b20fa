// Runs the table of cases against the Node client. Says `N cases`, or what differs and ends with 1.

import fs from "node:fs";

import { Invalid, evidenceOf, judge, parse, urlOf } from "../../clients/node/pierhead.mjs";

/** The system as a case describes it. */
function systemOf(world) {
  const processes = new Map(world.processes.map((each) => [each.pid, each]));
  const sockets = world.sockets.map((each, number) => ({ ...each, id: String(number) }));
  const heldBy = (pid, { id }) => sockets.find((each) => each.id === id).held_by.includes(pid);
  const isReadable = (pid) => !processes.get(pid)?.unreadable;
  const bigint = (number) => (number === undefined || number === null ? undefined : BigInt(number));
  return {
    seesOwners: true,
    bootId: () => world.boot,
    pidNamespace: () => bigint(world.namespace),
    ownPid: () => world.me,
    look(pid) {
      const process = processes.get(pid);
      if (process === undefined) return { is: "gone" };
      const { is = "alive", start = 700, began = 5000, inode } = process;
      if (is === "thread" || is === "zombie") return { is };
      if (is !== "alive") return { is: "unknown", how: is };
      const numbers = { start: bigint(start), pidfd_inode: bigint(inode), pid_ns: bigint(world.namespace) };
      return { is, instance: { pid, boot_id: world.boot, ...numbers }, startedAt: began };
    },
    innerPid: (pid) => processes.get(pid)?.inner,
    async listening(port) {
      if (world.unseen !== undefined) throw new Error(world.unseen);
      return sockets.filter((each) => each.port === port);
    },
    ownedBy(pids, asked) {
      const readable = pids.filter(isReadable);
      const owners = asked.map((each) => [each, readable.find((pid) => heldBy(pid, each))]);
      return { held: owners.filter(([, pid]) => pid !== undefined), unreadable: pids.find((pid) => !isReadable(pid)) };
    },
    descendants(root) {
      const found = [root];
      for (const pid of found) for (const { pid: child, parent = 1 } of processes.values()) if (parent === pid) found.push(child);
      return found.slice(1);
    },
    holderOf(socket) {
      const [pid] = [...processes.keys()].filter((each) => isReadable(each) && heldBy(each, socket)).sort((a, b) => a - b);
      return pid === undefined ? undefined : { pid, command: processes.get(pid).command ?? "?" };
    },
  };
}

function dataOf({ file, hex, text, parts = [[text, 1]] }) {
  if (file !== undefined) return Buffer.from(JSON.stringify(file));
  if (hex !== undefined) return Buffer.from(hex, "hex");
  return Buffer.from(parts.map(([part, times]) => part.repeat(times)).join(""));
}

async function outcome(each, world) {
  let record;
  try {
    record = parse(dataOf(each));
  } catch (error) {
    if (!(error instanceof Invalid)) throw error;
    return { verdict: "stale", reason: `invalid: ${error.message}` };
  }
  const evidence = await evidenceOf(record, each.written_at ?? 10000, systemOf(world));
  const { word, reason = null } = judge(record, evidence);
  if (word !== "live") return { verdict: word, reason };
  const { address, port, owner } = evidence.sockets.holder;
  return { verdict: word, reason, pid: owner.pid, at: address, url: urlOf(address, port) ?? null };
}

const table = JSON.parse(fs.readFileSync(new URL("portfile.json", import.meta.url), "utf8"));
let wrong = 0;
for (const each of table.cases) {
  const told = await outcome(each, { ...table.world, ...each.world });
  const expected = Object.fromEntries(Object.keys(told).map((name) => [name, each[name] ?? null]));
  if (each.reason_has !== undefined && told.reason?.includes(each.reason_has)) expected.reason = told.reason;
  if (JSON.stringify(told) !== JSON.stringify(expected)) {
    wrong += 1;
    console.log(`${each.it}\n  expected ${JSON.stringify(expected)}\n  told     ${JSON.stringify(told)}`);
  }
}
console.log(`${table.cases.length} cases`);
process.exitCode = wrong > 0 ? 1 : 0;
