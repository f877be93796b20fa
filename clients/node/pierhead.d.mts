/** Finds dev servers by their port files, and publishes one; see pierhead.mjs. */

/** One life of one process. What a file or a system does not tell is absent. */
export interface Instance {
  pid: number;
  start?: bigint;
  boot_id?: string;
  pidfd_inode?: bigint;
  pid_ns?: bigint;
}

/** A port file's content. */
export interface PortFile {
  pid: number;
  port: number;
  host: string;
  started_at?: string;
  version?: string;
  name?: string;
  url?: string;
  instance?: Instance;
  writer?: string;
  /** Every other field, as it is written: JSON by name. */
  extra: Map<string, string>;
}

/** What lives under a number. */
export type ProcessEvidence =
  | { is: "alive"; instance: Instance; /** Milliseconds since 1970. */ startedAt?: number }
  | { is: "gone" | "thread" | "zombie" | "looker" | "elsewhere" }
  | { is: "unknown"; how: string };

/** A listening socket and the topmost process of the tree that holds it. */
export interface Holder {
  address: string;
  port: number;
  owner: Instance;
}

/** Who listens on the port. */
export type SocketEvidence =
  | { are: "nobody" }
  | { are: "tree"; holder: Holder }
  | { are: "others"; other?: { pid: number; command: string } }
  | { are: "unreadable"; pid: number }
  | { are: "unknown"; how: string };

/** Everything that was seen of what a port file claims. */
export interface Evidence {
  process: ProcessEvidence;
  sockets: SocketEvidence;
  bootId?: string;
  pidNs?: bigint;
  /** When the file was written: milliseconds since 1970. */
  writtenAt?: number;
}

export type Word = "live" | "stale" | "unsure";

/** What evidence says of a port file: proven true, proven untrue, or neither; and why. */
export interface Verdict {
  word: Word;
  reason?: string;
}

/** A listening socket; its `id` is the same for all who hold it. */
export interface Listening {
  address: string;
  port: number;
  id: string;
}

/** What is asked of the system. */
export interface System {
  readonly seesOwners: boolean;
  bootId(): string | undefined;
  pidNamespace(): bigint | undefined;
  ownPid(): number;
  look(pid: number): ProcessEvidence;
  innerPid(pid: number): number | undefined;
  listening(port: number): Promise<Listening[]>;
  ownedBy(pids: number[], sockets: Listening[]): { held: [Listening, number][]; unreadable?: number };
  descendants(pid: number): number[];
  holderOf(socket: Listening): { pid: number; command: string } | undefined;
}

/** What is known of a server. With a `url` it has an address; without one, `reason` says why not. */
export interface Found {
  /** The port file that was looked at. */
  file: string;
  /** Absent when there is no file. */
  verdict?: Word;
  /** Why it has no address, or why that is not proven. */
  reason?: string;
  /** The process that holds the listening socket. */
  pid?: number;
  host?: string;
  port?: number;
  /** Made of a verified loopback address, never taken from the file. */
  url?: string;
  /** What the file claims. */
  record?: PortFile;
}

export interface Where {
  /** A directory in a repo; the working directory by default. */
  path?: string;
  /** A server's name; the repo's default server otherwise. */
  server?: string;
}

export interface Announcement extends Where {
  /** A number from 1 to 65535. */
  port: number;
  /** The address that is listened on; 127.0.0.1 by default. */
  host?: string;
  /** The server's own version. */
  version?: string;
  /** The server's name in its repo. */
  name?: string;
  /** More fields, of any names but those of a port file. */
  extra?: Record<string, unknown>;
}

/** A published port file. */
export interface Publication {
  readonly file: string;
  readonly record: PortFile;
  /** Removes the file if it still names this process. */
  remove(): void;
}

/** A live port file of another process is there. */
export class Taken extends Error {
  constructor(file: string, pid: number);
  readonly file: string;
  readonly pid: number;
}

/** Bytes that are no port file; its message says why. */
export class Invalid extends Error {}

/** Looks for the server of a directory. */
export function discover(where?: Where): Promise<Found>;

/** Publishes that this process listens. Throws `Taken` when another process's live file is there. */
export function publish(announcement: Announcement): Promise<Publication>;

/** Reads a record from bytes of at most 64 KiB; throws `Invalid`. */
export function parse(data: Uint8Array): PortFile;

/** Weighs the evidence. */
export function judge(record: PortFile, evidence: Evidence): Verdict;

/** Looks at what a record claims. For tests: another system may be given. */
export function evidenceOf(record: PortFile, writtenAt: number | undefined, system?: System): Promise<Evidence>;

/** The loopback URL that reaches a socket; nothing for one that is not this machine's loopback. */
export function urlOf(address: string, port: number): string | undefined;
