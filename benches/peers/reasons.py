"""Why a peer is ahead of Pierhead in a row, by the row and the peer (`*`: any). Read by people: each must be true."""

SCANDIR = "a process for each service and no daemon: what it does not do (check the port, write a port file, keep a record for the next daemon) costs nothing."

REASONS = {}

LIMITS = ""
