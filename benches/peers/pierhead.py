#!/usr/bin/env python3
"""Pierhead beside its peers: the adapter for the harness that measures local supervisors.

    PEERS_HARNESS=FOLDER pierhead.py list|scale|crash|survive|logs [the harness' own options]
    PEERS_HARNESS=FOLDER all.py      everything in one go, and docs/benchmarks.md from it

FOLDER is the harness (`run.py`, `peers.py`, `scenarios.py` …), which stays where it is. The program measured is PIERHEAD,
or `target/release/pierhead` of this checkout. Every service is a repo of its own with one server, as people use it.
"""
import json
import os
import pathlib
import subprocess
import sys
import time

sys.path.insert(0, os.environ.get("PEERS_HARNESS") or sys.exit("PEERS_HARNESS: name the harness' folder"))

import lib  # noqa: E402
import peers  # noqa: E402
import run  # noqa: E402

CHECKOUT = pathlib.Path(__file__).resolve().parents[2]
PROGRAM = pathlib.Path(os.environ.get("PIERHEAD") or CHECKOUT / "target/release/pierhead")


class Pierhead(peers.Peer):
    key = "pierhead"
    note = "`up` returns when the server accepts and its port file is written; a shim for each server outlives the daemon"

    @classmethod
    def missing(cls):
        return [] if PROGRAM.is_file() else [f"{PROGRAM} (cargo build --release)"]

    @classmethod
    def version(cls):
        return peers.first_line([PROGRAM, "--version"])

    def config(self):
        self.ports = {s.name: s.port for s in self.services}
        for s in self.services:
            lines = ["[servers.web]", f"command = {json.dumps([str(word) for word in s.argv])}", 'restart = "always"']
            lines += [f"port = {s.port}"] if s.port else []
            lines += ['restart_delay = "0s"', "max_restarts = 1000000"] if self.profile == "fast" else []
            (s.cwd / "pierhead.toml").write_text("\n".join(lines) + "\n")
            added = subprocess.run([PROGRAM, "add", s.cwd, "--name", s.name, "--yes"], env=self.env, cwd=self.dir,
                                   capture_output=True, text=True)
            if added.returncode:
                raise RuntimeError(added.stderr)

    def _run(self, *words):
        return [PROGRAM, *words]

    def _waits(self, *words):
        """One that never listens (it only writes a log) is never ready: nobody waits for it."""
        listens = all(self.ports.values())
        return self._run(*words) if listens else self._run(*words, "--no-wait")

    def argv_up(self):
        return self._run("daemon", "run")

    def ready(self):
        answer = self.run(self._run("daemon", "status", "--json"))
        return answer.rc == 0 and json.loads(answer.out).get("running", False)

    def relaunch(self):
        """A new daemon after the first was killed: any command that changes something would start one as well."""
        self.up()
        end = time.monotonic() + 30
        while time.monotonic() < end:
            if self.ready():
                return True
            time.sleep(0.02)
        return False

    def argv_list(self):
        return self._run("ls")

    def argv_status(self, name):
        return self._run("status", name)

    def argv_start(self, name):
        return self._waits("up", name)

    def argv_stop(self, name):
        return self._run("down", name)

    def argv_restart(self, name):
        return self._waits("restart", name)

    def argv_start_all(self):
        return self._waits("up", "--all")

    def argv_stop_all(self):
        return self._run("down", "--all")

    def down(self):
        """The servers outlive the daemon by design: so they are stopped first."""
        self.run(self._run("down", "--all"))
        super().down()

    def log_files(self, name):
        folder = self.dir / ".local/state/pierhead"
        return sorted(folder.glob(f"**/{name}/web/output*.log")) or sorted(folder.glob(f"**/*{name}*/**/output*.log"))


class DebianS6(peers.S6):
    """s6 as Debian packs it: before 2.13, what limits the services was called `-c`, and `s6-svc` took one folder."""

    @classmethod
    def version(cls):
        return "2.11.3.2 (Debian)"

    def argv_up(self):
        return [lib.tool("s6-svscan"), "-c", "1000", self.dir / "scan"]

    def argv_start_all(self):
        return self._each(lib.tool("s6-svc"), "-u")

    def argv_stop_all(self):
        return self._each(lib.tool("s6-svc"), "-d")


def is_debians(program):
    usage = subprocess.run([program, "-?"], env={**os.environ, **lib.lib_env()}, capture_output=True, text=True)
    return "maxservices" in usage.stderr and "[ -C" not in usage.stderr


# In the order of the tables: what this is about, then what starts without a supervisor, then the others.
peers.PEERS = {Pierhead.key: Pierhead, **peers.PEERS}
run.PEERS = peers.PEERS
if lib.tool("s6-svscan") and is_debians(lib.tool("s6-svscan")):
    peers.PEERS["s6"] = DebianS6

if __name__ == "__main__":
    sys.exit(run.main())
