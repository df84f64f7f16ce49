// What a behaviour gets: a stock client of one version, bound to one transport and one running fixture.
import { randomBytes } from "node:crypto";
import { startProxy } from "./proxy.mjs";
import { profiles, startFixture } from "./fixture.mjs";

/** Longest time any awaited event may take. Generous: it only matters when a test fails. */
const PATIENCE_MS = 8000;

export function once(emitter, event, ms = PATIENCE_MS) {
  const late = new Error(`no "${event}" within ${ms} ms`);
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => {
      emitter.off(event, listener);
      reject(late);
    }, ms);
    function listener(...args) {
      clearTimeout(timer);
      emitter.off(event, listener);
      resolve(args);
    }
    emitter.on(event, listener);
  });
}

/** Emits with an acknowledgement; resolves with all its arguments. */
export function askAll(socket, event, ...args) {
  const late = new Error(`no acknowledgement of "${event}" within ${PATIENCE_MS} ms`);
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(late), PATIENCE_MS);
    socket.emit(event, ...args, (...answer) => {
      clearTimeout(timer);
      resolve(answer);
    });
  });
}

export const ask = async (socket, event, ...args) => (await askAll(socket, event, ...args))[0];

/** Collects the arguments of every `event` in a list. */
export function collect(socket, event) {
  const seen = [];
  socket.on(event, (...args) => seen.push(args));
  return seen;
}

/** Everything the server sent to this socket before now has arrived once this resolves. */
export async function marker(socket) {
  const tag = randomBytes(6).toString("hex");
  const seen = new Promise((resolve) => socket.once(tag, resolve));
  socket.emit("emit", tag);
  let timer;
  const late = new Error("the marker event did not come back");
  await Promise.race([seen, new Promise((_, reject) => { timer = setTimeout(() => reject(late), PATIENCE_MS); })]);
  clearTimeout(timer);
}

/** Disconnects on purpose and waits until the transport is closed too. */
export async function leave(socket) {
  const { engine } = socket.io;
  const closed = new Promise((resolve) => engine.once("close", resolve));
  socket.disconnect();
  await closed;
}

/** Cuts the network under `socket`, which cannot return until `proxy.accept()`. Resolves with the client's reason. */
export async function severed(socket, proxy, how = "cut") {
  const end = once(socket, "disconnect");
  proxy.refuse();
  proxy[how]();
  return (await end)[0];
}

/** Resolves when the client got `count` heartbeats from now on. */
export function heartbeats(socket, count) {
  return new Promise((resolve) => {
    let left = count;
    socket.io.engine.on("packet", ({ type }) => {
      if (type === "ping" && --left === 0) resolve();
    });
  });
}

export async function until(condition, what) {
  const deadline = Date.now() + PATIENCE_MS;
  while (!condition()) {
    if (Date.now() > deadline) throw new Error(`never came true: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

export class Context {
  constructor({ client, transport, transports, urls, version }, profile, parser) {
    this.client = client;
    this.transport = transport; // "websocket" | "polling" | "upgrade"
    this.transports = transports;
    this.version = version;
    this.profile = profile;
    this.url = urls[profile];
    this.parser = parser;
    this.cleanups = [];
  }

  options(extra) {
    return {
      transports: this.transports, forceNew: true, reconnection: false, ...(this.parser && { parser: this.parser }),
      ...extra,
    };
  }

  /** A socket which is on its way to connect. */
  socket(namespace = "/", { url = this.url, ...extra } = {}) {
    const socket = this.client.io(url + namespace, this.options(extra));
    this.cleanups.push(() => {
      socket.disconnect();
      socket.io.reconnection(false);
      socket.io.engine?.close();
    });
    return socket;
  }

  manager({ url = this.url, ...extra } = {}) {
    const manager = new this.client.Manager(url, this.options(extra));
    this.cleanups.push(() => {
      manager.reconnection(false);
      for (const socket of Object.values(manager.nsps)) socket.disconnect();
      manager.engine?.close();
    });
    return manager;
  }

  /** A connected socket. */
  async connect(namespace, extra) {
    const socket = this.socket(namespace, extra);
    await this.connected(socket);
    return socket;
  }

  async connected(socket) {
    if (socket.connected) return;
    await new Promise((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error("not connected in time")), PATIENCE_MS);
      socket.once("connect", () => { clearTimeout(timer); resolve(); });
      socket.once("connect_error", (error) => { clearTimeout(timer); reject(error); });
    });
  }

  /** `count` connected sockets, each on its own connection. */
  group(count, namespace) {
    return Promise.all(Array.from({ length: count }, () => this.connect(namespace)));
  }

  /** A namespace nobody else uses. */
  fresh() {
    return `/dyn-${randomBytes(6).toString("hex")}`;
  }

  name(prefix = "room") {
    return `${prefix}-${randomBytes(6).toString("hex")}`;
  }

  async proxy() {
    const proxy = await startProxy(this.url);
    this.cleanups.push(() => proxy.close());
    return proxy;
  }

  /** A fixture of this test's own, which it may stop. */
  async fixture(listen) {
    const fixture = await startFixture(profiles[this.profile], listen);
    this.cleanups.push(() => fixture.stop("SIGKILL"));
    return fixture;
  }

  async upgraded(socket) {
    await until(() => socket.io.engine.transport.name === "websocket", "upgraded to websocket");
  }

  async close() {
    for (const cleanup of this.cleanups.reverse()) await cleanup();
  }
}
