#!/usr/bin/env python3
"""Measures Pierhead and its peers in one go, and writes docs/benchmarks.md from what was measured.

    PEERS_HARNESS=FOLDER BENCH_ROOT=FOLDER all.py [--quick] [--peers a,b] [--from RESULT.json ...]

--from writes the page anew from results that are there. The machine should have nothing else to do.
"""
import argparse
import datetime
import json
import os
import pathlib
import re
import subprocess
import sys

from reasons import LIMITS, REASONS

HERE = pathlib.Path(__file__).resolve().parent
PAGE = HERE.parents[1] / "docs/benchmarks.md"
US, FLOOR = "pierhead", "direct"

RUNS = [
    ["scale", "--n", "1,20,200", "--reps", "5", "--idle", "20"],
    ["crash", "--profile", "fast", "--reps", "5"],
    ["crash", "--profile", "default", "--reps", "3"],
    ["survive"],
    ["logs", "--mb", "200"],
]
QUICK = [
    ["scale", "--n", "1,20", "--reps", "3", "--idle", "5"],
    ["crash", "--profile", "fast", "--reps", "3"],
    ["survive"],
    ["logs", "--mb", "50"],
]

# Key of the harness, heading, unit, what it says, and whether more is better.
SCALE = [
    ("list_ms", "Show all services", "ms", "the command that lists them, until it returns", False),
    ("status_ms", "Show one service", "ms", "the command that tells of one, until it returns", False),
    ("start_accept_ms", "Start one", "ms", "from the command until the service accepts connections", False),
    ("start_return_ms", "Start one, until the command returns", "ms", "Pierhead returns when the server is ready and its port file is there", False),
    ("restart_accept_ms", "Restart one", "ms", "from the command until the new one accepts", False),
    ("start_all_last_ms", "Start all", "ms", "until the last of them accepts", False),
    ("stop_all_last_ms", "Stop all", "ms", "until the last of them is gone", False),
    ("pss_mib", "Memory", "MiB", "PSS of everything that is not a service, idle", False),
    ("idle_cpu_ms_per_min", "CPU when idle", "ms a minute", "of everything that is not a service", False),
    ("idle_switches_per_s", "Wake-ups when idle", "a second", "context switches of everything that is not a service", False),
]
OTHERS = [
    ("crash", "fast", "restart_accept_ms", "A service is killed, shortest delays", "ms", "SIGKILL until the next one accepts, with the shortest delays that the product documents", False),
    ("crash", "default", "restart_accept_ms", "A service is killed, default settings", "ms", "the same with the delays that the product has by itself", False),
    ("logs", None, "stored_mb_s", "Log throughput", "MB/s", "of one service that writes 100-byte lines, until all of it is in its log file", True),
]
SURVIVAL = [
    ("live on", lambda r: f"{r['survive']} of {r['services']}"),
    ("restarted while it is dead", lambda r: r.get("restarted_while_down")),
    ("taken over by the next", lambda r: f"{r['kept']} of {r['of']}" if r.get("of") else None),
    ("stop reaches them", lambda r: r.get("stop_reaches_survivor")),
    ("restarted after it is back", lambda r: r.get("survivor_crash_restarted")),
    ("started twice", lambda r: r.get("new_instances", 0) and f"{r['new_instances']} new, {r.get('port_conflicts', 0)} found the port taken"),
    ("left after the end", lambda r: r.get("orphans_left")),
]


# Peers that want a Node of their own lie, with it, in a folder below BENCH_ROOT: every program there comes before others.
APART = {"hotel": "node12"}


def measure(peers, runs):
    """Each run of the harness; gives the paths of what it wrote."""
    root = pathlib.Path(os.environ["BENCH_ROOT"])
    apart = [peer for peer in APART if peers == "all" or peer in peers.split(",")]
    results = []
    for words in runs:
        results += run_harness(words, peers, root)
        for peer in apart:
            results += run_harness(words, peer, root / APART[peer])
    return results


def run_harness(words, peers, root):
    command = [sys.executable, HERE / "pierhead.py", *words, "--peers", peers]
    print("---", *words, flush=True)
    out = []
    environment = {**os.environ, "BENCH_ROOT": str(root)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        for line in process.stdout:
            print(line[:200].rstrip(), flush=True)
            out.append(line)
    return re.findall(r"^-> (\S+)", "".join(out), re.M)


def number(value):
    if isinstance(value, dict):
        value = value.get("median")
    return None if value is None or isinstance(value, bool) else float(value)


def told(value):
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def cell(value, ours):
    if value is None:
        return "–"
    ratio = f" ({value / ours:.1f}×)" if ours and value != ours else ""
    return told(value) + ratio


def ahead(values, more):
    """Who is better than Pierhead by more than the measuring tells apart, best first."""
    ours = values.get(US)
    if ours is None:
        return []
    is_better = (lambda v: v > ours * 1.05) if more else (lambda v: v < ours * 0.95 and ours - v > 0.05)
    better = [(v, peer) for peer, v in values.items() if peer not in (US, FLOOR) and v is not None and is_better(v)]
    return sorted(better, reverse=more)


def verdict(key, columns, more):
    """One line a column: first, or who is not behind, and why."""
    lines, why = [], {}
    for name, values in columns:
        better = ahead(values, more)
        label = f"{name}: " if name else ""
        if values.get(US) is None:
            lines.append(f"{label}not measured")
        elif not better:
            lines.append(f"{label}**first**")
        else:
            lines.append(f"{label}place {len(better) + 1}, after " + ", ".join(f"{peer} ({told(v)})" for v, peer in better))
            for _, peer in better:
                reason = REASONS.get((key, peer)) or REASONS.get((key, "*")) or "no reason was found: this is to be mended."
                why.setdefault(reason, []).append(peer)
    out = ["Pierhead: " + "; ".join(lines) + "."]
    out += [f"- {', '.join(dict.fromkeys(peers))}: {reason}" for reason, peers in why.items()]
    return out


def table(peers, columns):
    head = ["", *(name for name, _ in columns)]
    out = ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    for peer in peers:
        values = [values.get(peer) for _, values in columns]
        if any(v is not None for v in values):
            cells = [cell(v, ours.get(US)) for v, (_, ours) in zip(values, columns)]
            name = {US: "**Pierhead**", FLOOR: "*no supervisor*"}.get(peer, peer)
            out.append("| " + " | ".join([name, *cells]) + " |")
    return out


def section(title, unit, what, key, peers, columns, more):
    return [f"### {title}", "", f"In {unit}: {what}.", "", *table(peers, columns), "", *verdict(key, columns, more), ""]


def survival(rows):
    names = [name for name, _ in SURVIVAL]
    out = ["### The supervisor is killed", "", "SIGKILL for the supervisor of five services, one of them killed meanwhile, then the supervisor is started again.", ""]
    out += ["| | " + " | ".join(names) + " |", "|---" * (len(names) + 1) + "|"]
    for row in rows:
        if row["peer"] == FLOOR:
            continue
        if row.get("error"):
            cells = [f"not measured: {row['error']}"] + [""] * (len(names) - 1)
        else:
            values = [read(row) for _, read in SURVIVAL]
            cells = ["–" if v is None else "yes" if v is True else "no" if v is False or v == 0 and n == "started twice" else str(v) for v, n in zip(values, names)]
        out.append("| " + " | ".join(["**Pierhead**" if row["peer"] == US else row["peer"], *cells]) + " |")
    return [*out, "", *(f"- {line}" for line in REASONS.get(("survive", "*"), "").splitlines()), ""]


def page(paths):
    results = [json.loads(pathlib.Path(path).read_text()) for path in paths]
    rows = [row for result in results for row in result["rows"]]
    machine = results[0]["machine"]
    peers = list(dict.fromkeys(row["peer"] for row in rows))
    version = {row["peer"]: row.get("version") for row in rows if row.get("version")}
    noise = sorted(row["noise"] for row in rows if row.get("noise") is not None)
    at = datetime.date.fromtimestamp(min(pathlib.Path(path).stat().st_mtime for path in paths))
    out = [
        "# Benchmarks", "",
        "Pierhead beside what else people start local servers with: every service is the same small program, every product is set up",
        "as its manual says, all in one run on one machine. This page is written by `benches/peers/all.py`; the figures that Pierhead",
        "is held to, each beside a reference of the same run, are those of `make bench`.", "",
        f"{at}, {machine['cores']} processors ({machine['cpu']}), Linux {machine['kernel']}. Medians; in brackets how many times Pierhead's. "
        f"*No supervisor* is the same program started by the harness itself. Somebody waited for a processor in {told(noise[len(noise) // 2] * 100)} % of the time.", "",
        "| | version |", "|---|---|",
        *(f"| {peer} | {version[peer]} |" for peer in peers if peer in version and peer != FLOOR), "",
    ]
    words = [[args["what"], *(f"--{name} {args[name]}" for name in ("n", "reps", "idle", "mb", "profile") if name in USED[args["what"]])]
             for args in (result["args"] for result in results)]
    out += [*dict.fromkeys(f"- `pierhead.py {' '.join(line)}`" for line in words), ""]
    scale = [row for row in rows if row["scenario"] == "scale"]
    sizes = sorted({row["n"] for row in scale})
    for key, title, unit, what, more in SCALE:
        columns = [(f"{n} service{'s' if n > 1 else ''}", {row["peer"]: number(row.get(key)) for row in scale if row["n"] == n}) for n in sizes]
        out += section(title, unit, what, key, peers, columns, more)
    for scenario, profile, key, title, unit, what, more in OTHERS:
        values = {row["peer"]: number(row.get(key)) for row in rows if row["scenario"] == scenario and profile in (None, row.get("profile"))}
        if values:
            out += section(title, unit, what, f"{scenario}:{profile or key}", peers, [("", values)], more)
    out += survival([row for row in rows if row["scenario"] == "survive"])
    failed = [f"- {row['peer']}, {row['scenario']} with {row['n']}: {row['error']}" for row in rows if row.get("error")]
    if failed:
        out += ["### What could not be measured", "", *failed, ""]
    out += LIMITS.strip().splitlines()
    PAGE.write_text("\n".join(out).rstrip() + "\n")
    print(f"wrote {PAGE}")


USED = {"scale": ("n", "reps", "idle"), "crash": ("reps", "profile"), "survive": (), "logs": ("mb",)}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer services and repetitions: to try it")
    parser.add_argument("--peers", default="all", help="names by commas; Pierhead is not added by itself")
    parser.add_argument("--from", nargs="+", dest="results", metavar="RESULT.json", help="measure nothing")
    args = parser.parse_args()
    for name, what in (("PEERS_HARNESS", "the harness' folder"), ("BENCH_ROOT", "the folder with the peers' programs")):
        if not args.results and name not in os.environ:
            parser.error(f"{name}: name {what}")
    page(args.results or measure(args.peers, QUICK if args.quick else RUNS))


if __name__ == "__main__":
    main()
