// The line to the server: one stock Socket.IO client, and a state that can always be told to the user.
// Owns when to try again. Knows nothing of rooms, messages or the document.
//
// The client's own reconnection is off because it does not say when its next try will be;
// everything else (session recovery included) is the stock behaviour of `socket.connect()`.

import { io, type Socket } from "socket.io-client";
import type { ClientEvents, ServerEvents } from "./protocol";

export type TransportName = "websocket" | "polling";
export type TransportChoice = "auto" | TransportName;

/** `offline`: the browser says so, or nobody answered for `offlineAfterMs`. Tries go on all the same. */
export type Phase = "connecting" | "connected" | "reconnecting" | "offline" | "refused";

export interface LineState {
  readonly phase: Phase;
  /** In use while connected. */
  readonly transport: TransportName | null;
  /** A switch from long-polling to WebSocket is being tried, or was and did not work. */
  readonly upgrade: "none" | "trying" | "failed";
  /** Which try this is since the line was lost; 0 while connected and in the first try of all. */
  readonly attempt: number;
  /** When the next try starts (`Date.now()` clock); null: it is running now, or none is planned. */
  readonly retryAt: number | null;
  readonly browserOffline: boolean;
  /** How the latest return went: the server replayed what was missed, or the page had to fetch it again. */
  readonly comeback: "none" | "recovered" | "reloaded";
  /** Why the server refused us, in its words. */
  readonly refusal: string;
}

const RETRY_FIRST_MS = 1_000;
const RETRY_MAX_MS = 10_000;
/** One try, from the TCP connection to the namespace's answer. */
const TRY_MAX_MS = 8_000;

export class Connection {
  readonly socket: Socket<ServerEvents, ClientEvents>;
  onState: (state: LineState) => void = () => {};
  onConnected: () => void = () => {};
  onLost: () => void = () => {};

  private state: LineState = {
    phase: "connecting", transport: null, upgrade: "none", attempt: 0, retryAt: null,
    browserOffline: false, comeback: "none", refusal: "",
  };
  private everConnected = false;
  private retryTimer = 0;
  private tryTimer = 0;
  private offlineTimer = 0;
  private longLost = false;

  constructor(choice: TransportChoice, private readonly offlineAfterMs: number) {
    this.socket = io({ autoConnect: false, reconnection: false, timeout: TRY_MAX_MS, transports: transportsOf(choice) });
    this.socket.on("connect", () => this.connected());
    this.socket.on("disconnect", () => this.lost());
    this.socket.on("connect_error", (error) => this.failed(error));
    window.addEventListener("online", () => this.browserNetwork(false));
    window.addEventListener("offline", () => this.browserNetwork(true));
    // A tab that slept, or is looked at again, should not sit out its countdown.
    document.addEventListener("visibilitychange", () => {
      if (document.visibilityState === "visible") this.retryNow();
    });
  }

  open(): void {
    this.startOfflineClock();
    this.tryOnce();
  }

  retryNow(): void {
    if (this.state.retryAt === null && this.state.phase !== "refused") return;
    this.tryOnce();
  }

  /** Takes effect at once: the line is dropped and taken up again with the other transport. */
  chooseTransport(choice: TransportChoice): void {
    this.socket.io.opts.transports = transportsOf(choice);
    this.socket.io.engine?.close();
    this.retryNow();
  }

  private tryOnce(): void {
    clearTimeout(this.retryTimer);
    clearTimeout(this.tryTimer);
    this.change({ phase: this.waitingPhase(), retryAt: null, upgrade: "none", refusal: "" });
    // Covers the one step that the client has no timeout for: the namespace never answering.
    this.tryTimer = setTimeout(() => {
      this.socket.io.engine?.close();
      this.retryLater();
    }, TRY_MAX_MS + 1_000);
    this.socket.connect();
    this.watchTransport();
  }

  private connected(): void {
    clearTimeout(this.tryTimer);
    clearTimeout(this.offlineTimer);
    this.longLost = false;
    const comeback = !this.everConnected ? "none" : this.socket.recovered ? "recovered" : "reloaded";
    this.everConnected = true;
    this.change({ phase: "connected", transport: this.transportName(), attempt: 0, retryAt: null, comeback });
    this.onConnected();
  }

  private lost(): void {
    this.onLost();
    // The 30 s count from the loss of a working line, not from each failed try after it.
    if (this.state.phase === "connected") this.startOfflineClock();
    this.retryLater();
  }

  private failed(error: Error): void {
    // `active` stays true for a broken line; false means that the server looked at us and said no.
    if (!this.socket.active) {
      clearTimeout(this.tryTimer);
      clearTimeout(this.offlineTimer);
      this.change({ phase: "refused", transport: null, retryAt: null, refusal: error.message });
      return;
    }
    this.retryLater();
  }

  private retryLater(): void {
    // One failure may be told twice, as a failed try and as a closed line.
    if (this.state.retryAt !== null) return;
    clearTimeout(this.tryTimer);
    const attempt = this.state.attempt + 1;
    const longest = Math.min(RETRY_MAX_MS, RETRY_FIRST_MS * 2 ** (attempt - 1));
    // Between half and all of it, so that many pages do not come back in the same instant.
    const delay = longest * (0.5 + Math.random() / 2);
    this.retryTimer = setTimeout(() => this.tryOnce(), delay);
    this.change({ phase: this.waitingPhase(), transport: null, upgrade: "none", attempt, retryAt: Date.now() + delay });
  }

  private startOfflineClock(): void {
    clearTimeout(this.offlineTimer);
    this.offlineTimer = setTimeout(() => {
      this.longLost = true;
      this.change({ phase: this.waitingPhase() });
    }, this.offlineAfterMs);
  }

  private browserNetwork(offline: boolean): void {
    this.change({ browserOffline: offline });
    // The client drops its line by itself on `offline`; here only the waiting states differ.
    if (this.state.phase !== "connected" && this.state.phase !== "refused") this.change({ phase: this.waitingPhase() });
    if (!offline) this.retryNow();
  }

  private waitingPhase(): Phase {
    if (this.longLost || this.state.browserOffline) return "offline";
    return this.everConnected ? "reconnecting" : "connecting";
  }

  private watchTransport(): void {
    const engine = this.socket.io.engine;
    if (!engine) return;
    const current = (): boolean => engine === this.socket.io.engine && this.state.retryAt === null;
    engine.on("upgrading", () => current() && this.change({ upgrade: "trying" }));
    engine.on("upgrade", () => {
      if (current()) this.change({ upgrade: "none", transport: this.state.phase === "connected" ? this.transportName() : null });
    });
    engine.on("upgradeError", () => current() && this.change({ upgrade: "failed" }));
  }

  private transportName(): TransportName {
    return this.socket.io.engine.transport.name === "websocket" ? "websocket" : "polling";
  }

  private change(part: Partial<LineState>): void {
    this.state = { ...this.state, ...part };
    this.onState(this.state);
  }
}

function transportsOf(choice: TransportChoice): TransportName[] {
  return choice === "auto" ? ["polling", "websocket"] : [choice];
}
