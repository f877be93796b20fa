"""Runs the table of cases against the Python client. Says `N cases`, or what differs and ends with 1."""

import ipaddress
import json
import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent.parent / "clients/python"))
sys.dont_write_bytecode = True

import pierhead  # noqa: E402


class World(pierhead.System):
    """The system as a case describes it."""

    sees_owners = True

    def __init__(self, told):
        self.told = told
        self.processes = {each["pid"]: each for each in told["processes"]}
        self.sockets = [
            (pierhead.Listening(ipaddress.ip_address(each["address"]), each["port"], number), each["held_by"])
            for number, each in enumerate(told["sockets"])
        ]

    def boot_id(self):
        return self.told["boot"]

    def pid_namespace(self):
        return self.told["namespace"]

    def own_pid(self):
        return self.told["me"]

    def look(self, pid):
        process = self.processes.get(pid)
        if process is None:
            return pierhead.Process("gone")
        is_ = process.get("is", "alive")
        if is_ not in ("alive", "thread", "zombie"):
            return pierhead.Process("unknown", how=is_)
        start, inode = int(process.get("start", 700)), process.get("inode")
        life = pierhead.Instance(pid, start, self.told["boot"], inode, self.told["namespace"])
        return pierhead.Process(is_, life, process.get("began", 5000)) if is_ == "alive" else pierhead.Process(is_)

    def inner_pid(self, pid):
        return self.processes.get(pid, {}).get("inner")

    def listening(self, port):
        if "unseen" in self.told:
            raise OSError(self.told["unseen"])
        return [each for each, _ in self.sockets if each.port == port]

    def owned_by(self, pids, sockets):
        owned, unreadable = {}, None
        for pid in pids:
            if self.processes[pid].get("unreadable"):
                unreadable = pid
                continue
            for each, holders in self.sockets:
                if each in sockets and pid in holders:
                    owned.setdefault(each.id, (each, pid))
        return list(owned.values()), unreadable

    def descendants(self, pid):
        found = [pid]
        for each in found:
            found += [child for child, process in self.processes.items() if process.get("parent", 1) == each]
        return found[1:]

    def holder_of(self, listening):
        holders = dict((each.id, held_by) for each, held_by in self.sockets)[listening.id]
        seen = sorted(pid for pid in holders if not self.processes[pid].get("unreadable"))
        return (seen[0], self.processes[seen[0]].get("command", "?")) if seen else None


def data_of(case):
    if "file" in case:
        return json.dumps(case["file"]).encode()
    if "hex" in case:
        return bytes.fromhex(case["hex"])
    return "".join(text * times for text, times in case.get("parts", [[case.get("text"), 1]])).encode()


def outcome(case, world):
    try:
        record = pierhead.parse(data_of(case))
    except pierhead.Invalid as why:
        return {"verdict": "stale", "reason": f"invalid: {why}"}
    evidence = pierhead.evidence_of(record, case.get("written_at", 10000), World(world))
    verdict = pierhead.judge(record, evidence)
    told = {"verdict": verdict.word, "reason": verdict.reason}
    if verdict.word == "live":
        holder = evidence.sockets.holder
        host = pierhead._connect_host(holder.address)
        # Newer Pythons write an IPv4 address inside IPv6 as such.
        mapped = getattr(holder.address, "ipv4_mapped", None)
        address = f"::ffff:{mapped}" if mapped else str(holder.address)
        told.update(pid=holder.owner.pid, at=address, url=host and pierhead._url(host, holder.port))
    return told


def main():
    table = json.loads((HERE / "portfile.json").read_text())
    wrong = 0
    for case in table["cases"]:
        told = outcome(case, {**table["world"], **case.get("world", {})})
        expected = {name: case.get(name) for name in told}
        part = case.get("reason_has")
        if part is not None and part in (told["reason"] or ""):
            expected["reason"] = told["reason"]
        if told != expected:
            wrong += 1
            print(f"{case['it']}\n  expected {expected}\n  told     {told}")
    print(f"{len(table['cases'])} cases")
    return 1 if wrong else 0


sys.exit(main())
