"""Why a peer is ahead of Pierhead in a row, by the row and the peer (`*`: any). Read by people: each must be true."""

FAMILY = ("one small C program for each service and no daemon: nothing checks a port, an approval or a file, and nothing answers "
          "programs.")

REASONS = {
    ("status_ms", "s6"): "`s6-svstat` reads one file of the one service; Pierhead asks the daemon by its API, and the answer has why, since when, and where.",
    ("status_ms", "daemontools"): "`svstat` reads one file of the one service; Pierhead asks the daemon by its API, and the answer has why, since when, and where.",
    ("list_ms", "daemontools"): "`svstat` reads one file of each service and says whether it is up; Pierhead's list has the state, the address, the process and the reason, of every repo, and of servers that somebody else started.",
    ("status_ms", "runit"): "`sv status` reads one file of the one service; Pierhead asks the daemon by its API, and the answer has why, since when, and where.",
    ("start_return_ms", "s6"): "`s6-svc -wu` returns when the process was started; Pierhead when it serves, has stayed on its port for 4 ms (tools try ports by listening on them), and its port file is there.",
    ("start_return_ms", "*"): "it returns before the service serves; Pierhead when it has stayed on its port for 4 ms and its port file is there.",
    ("start_accept_ms", "*"): FAMILY,
    ("restart_accept_ms", "*"): FAMILY,
    ("start_all_last_ms", "*"): FAMILY,
    ("stop_all_last_ms", "*"): "it signals the processes that it started; Pierhead the whole tree of each, looked up at that moment.",
    **{("pss_mib", peer): "one process holds all services, and when it dies nobody keeps their output or learns how they end (see the last table); Pierhead has a shim for each server that does." for peer in ("mprocs", "horust", "foreman", "supervisord")},
    ("pss_mib", "*"): "a daemon with an HTTP API, its watchers and its memory of every repo costs some MiB once; the shim of each server then less than s6's two processes.",
    ("idle_cpu_ms_per_min", "*"): "it looks at its own children at most; Pierhead looks at the sockets every 1.5 s, for ports that move and servers that others start, and in the first 8 s after one came at growing pauses for the file by which a tool may announce it. In the long run it wakes once or twice a second (`make bench`, figures 6 and 15).",
    ("idle_switches_per_s", "*"): "it looks at its own children at most; Pierhead looks at the sockets every 1.5 s, for ports that move and servers that others start, and in the first 8 s after one came at growing pauses for the file by which a tool may announce it. In the long run it wakes once or twice a second (`make bench`, figures 6 and 15).",
    ("crash:fast", "*"): "it waits for its child itself; at Pierhead the shim does, writes how the service ended, and tells the daemon, which looks at the port file, the settings and the approval before the next start.",
    ("crash:default", "*"): "Pierhead starts the first one that dies in a minute again at once and pauses 1, 2, 4 s before the next ones; this run kills it again at once. `restart_delay` sets another pause: the row above.",
    ("logs:stored_mb_s", "*"): "it hands the service the file itself, or does not rotate what it writes.",
    ("survive", "*"): "Servers of Pierhead's outlive its daemon, and the next one takes them over. One that dies while no daemon lives is told and started again by the next: s6 and runit restart it meanwhile, since each service has a supervisor of its own.",
}

LIMITS = """
## How far from the limit

A command cannot be faster than a process that does nothing (`/bin/true`, 0.9 to 1.1 ms on that machine), a start no faster than the service
started by hand (0.8 to 1.0 ms). Static programs brought the command line there: of what `pierhead port` takes beside `/bin/true`, hardly a tenth
of a millisecond is its own. A start is 2.3 ms above the bare one: the command's own process, a request, the settings and the approval
read anew, the port tried, a shim forked. What is left to take out is the process of the command, which the tray and programs that use
the API do not have.
"""
