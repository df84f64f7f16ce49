// The reference fixture server: FIXTURE.md on Node's socket.io.
// It exists to prove the suites themselves: every test must pass here (tests marked `oursOnly` excepted).
import { createServer } from "node:http";
import { parseArgs } from "node:util";
import { Server } from "socket.io";
import * as msgpack from "socket.io-msgpack-parser";

const { values: flags } = parseArgs({
  options: {
    listen: { type: "string", default: "127.0.0.1:0" },
    recovery: { type: "boolean", default: false },
    msgpack: { type: "boolean", default: false },
    deflate: { type: "boolean", default: false },
    "ping-interval": { type: "string", default: "25000" },
    "ping-timeout": { type: "string", default: "20000" },
    "connect-timeout": { type: "string", default: "45000" },
    "max-payload": { type: "string", default: "1000000" },
  },
});

const http = createServer((_request, response) => response.writeHead(404).end());
const io = new Server(http, {
  pingInterval: Number(flags["ping-interval"]),
  pingTimeout: Number(flags["ping-timeout"]),
  connectTimeout: Number(flags["connect-timeout"]),
  maxHttpBufferSize: Number(flags["max-payload"]),
  perMessageDeflate: flags.deflate ? { threshold: 256 } : false,
  ...(flags.recovery && {
    connectionStateRecovery: { maxDisconnectionDuration: 120_000, skipMiddlewares: false },
  }),
  ...(flags.msgpack && { parser: msgpack.default ?? msgpack }),
});

const banned = new Set(); // auth.user values
const ends = new Map(); // socket id -> { reason, rooms, namespace }
const waiters = new Map(); // socket id -> [callback]

const wait = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const withoutOwn = (socket) => [...socket.rooms].filter((room) => room !== socket.id).sort();
const list = (value) => (value === undefined || value === null ? [] : Array.isArray(value) ? value : [value]);

async function middleware(socket, next) {
  const { refuse, delay, user, join } = socket.handshake.auth;
  if (delay) await wait(delay);
  if (user !== undefined && banned.has(user)) {
    return next(Object.assign(new Error("banned"), { data: { code: "banned" } }));
  }
  if (refuse) {
    const error = new Error(refuse.message);
    if (refuse.data !== undefined) error.data = refuse.data;
    return next(error);
  }
  if (join) socket.join(join);
  next();
}

function record(socket) {
  socket.on("disconnecting", () => {
    socket.lastRooms = withoutOwn(socket);
  });
  socket.on("disconnect", (reason) => {
    const end = { reason, rooms: socket.lastRooms ?? [], namespace: socket.nsp.name };
    ends.set(socket.id, end);
    for (const reply of waiters.get(socket.id) ?? []) reply(end);
    waiters.delete(socket.id);
  });
}

function operator(socket, { via, to, except, volatile, compress, local }) {
  let target = via === "all" ? socket.nsp : socket;
  if (via === "others") target = socket.broadcast;
  if (via !== "self" && list(to).length) target = target.to(list(to));
  if (via !== "self" && list(except).length) target = target.except(list(except));
  if (volatile) target = target.volatile;
  if (compress !== undefined) target = target.compress(compress);
  if (local) target = target.local;
  return target;
}

function typeOf(value) {
  if (value === null || value === undefined) return "null";
  if (ArrayBuffer.isView(value) || value instanceof ArrayBuffer) return "binary";
  return Array.isArray(value) ? "array" : typeof value;
}

const pattern = (length) => Buffer.from(Array.from({ length }, (_, index) => index % 256));

function values(socket, seen) {
  socket.on("fixture", (ack) => ack({ server: "node", options: { recovery: flags.recovery, msgpack: flags.msgpack } }));
  socket.on("handshake", (ack) => {
    const { auth, query, headers, secure, xdomain, issued, address, url } = socket.handshake;
    ack({
      id: socket.id, namespace: socket.nsp.name, recovered: socket.recovered, auth, query,
      header: headers["x-test"] ?? null, secure, xdomain: Boolean(xdomain), issued, address, url,
    });
  });
  socket.on("echo", (...args) => {
    const ack = args.at(-1);
    if (typeof ack === "function") ack(...args.slice(0, -1));
    else socket.emit("echo", ...args);
  });
  socket.on("count", (...args) => args.pop()(args.length));
  socket.on("type_of", (value, ack) => ack(typeOf(value)));
  socket.on("digest", (bytes, ack) => {
    let sum = 0;
    const view = Buffer.from(bytes);
    for (const byte of view) sum += byte;
    ack({ length: view.length, sum });
  });
  socket.on("make_bytes", (length, ack) => ack(pattern(length)));
  socket.on("make_text", (length, ack) => ack("x".repeat(length)));
  socket.on("emit", (name, ...args) => socket.emit(name, ...args));
  socket.on("push", (value) => seen.push(value));
  socket.on("pushed", (ack) => ack(seen));
  socket.on("remember", (value, ack) => {
    socket.data.value = value;
    ack("ok");
  });
  socket.on("recall", (ack) => ack(socket.data.value ?? null));
}

function acks(socket) {
  socket.on("ack_late", (ms, ...rest) => {
    const ack = rest.pop();
    setTimeout(() => ack(...rest), ms);
  });
  socket.on("slow", async (ms, ack) => {
    await wait(ms);
    ack("done");
  });
  socket.on("ack_never", () => {});
  socket.on("ack_twice", (ack) => {
    ack("first");
    ack("second");
  });
  socket.on("request", ({ id, event, args, timeout_ms }, ack) => {
    const target = id === undefined ? socket : socket.nsp.sockets.get(id);
    if (!target) return ack({ outcome: "missing" });
    target.timeout(timeout_ms).emit(event, ...args, (error, ...answer) => {
      ack(error ? { outcome: "timeout" } : { outcome: "ack", args: answer });
    });
  });
  socket.on("broadcast_request", (options, ack) => {
    operator(socket, options)
      .timeout(options.timeout_ms)
      .emit(options.event, ...options.args, (error, responses) => {
        ack({ timed_out: Boolean(error), responses: responses ?? [] });
      });
  });
}

function sending(socket) {
  socket.on("broadcast", (options, ack) => {
    operator(socket, options).emit(options.event, ...options.args);
    ack?.("sent");
  });
  socket.on("burst", ({ event, count, binary_every }) => {
    for (let index = 0; index < count; index += 1) {
      if (binary_every && index % binary_every === 0) socket.emit(event, index, pattern(index % 64));
      else socket.emit(event, index);
    }
    socket.emit("burst_end", count);
  });
  socket.on("volatile", (event, count) => {
    for (let index = 0; index < count; index += 1) socket.volatile.emit(event, index);
    socket.emit("volatile_end", count);
  });
}

function rooms(socket) {
  socket.on("join", (names, ack) => {
    socket.join(names);
    ack(withoutOwn(socket));
  });
  socket.on("leave", (name, ack) => {
    socket.leave(name);
    ack(withoutOwn(socket));
  });
  socket.on("rooms", (ack) => ack({ id: socket.id, rooms: [...socket.rooms].sort() }));
  const select = (room) => (room === null || room === undefined ? socket.nsp : socket.nsp.in(room));
  socket.on("sockets", async (room, ack) => ack((await select(room).fetchSockets()).map(({ id }) => id).sort()));
  socket.on("sockets_join", (room, names, ack) => {
    select(room).socketsJoin(names);
    ack("ok");
  });
  socket.on("sockets_leave", (room, names, ack) => {
    select(room).socketsLeave(names);
    ack("ok");
  });
  socket.on("disconnect_sockets", (room, close, ack) => {
    select(room).disconnectSockets(close);
    ack("ok");
  });
}

function endings(socket) {
  socket.on("disconnect_me", (close) => socket.disconnect(close));
  socket.on("cut", (id, ack) => {
    const target = id === null ? socket : socket.nsp.sockets.get(id);
    target?.conn.close();
    ack?.("ok");
  });
  socket.on("ended", (id, ack) => {
    if (ends.has(id)) return ack(ends.get(id));
    const timer = setTimeout(() => ack({ reason: null, rooms: [], namespace: "" }), 10_000);
    const reply = (end) => {
      clearTimeout(timer);
      ack(end);
    };
    waiters.set(id, [...(waiters.get(id) ?? []), reply]);
  });
  socket.on("ban", (user, ack) => {
    banned.add(user);
    ack("ok");
  });
}

function watching(socket) {
  const tail = { incoming: [], outgoing: [] };
  socket.onAny((name) => tail.incoming.push(name));
  socket.onAnyOutgoing((name) => tail.outgoing.push(name));
  socket.on("tail", (ack) => ack({ incoming: tail.incoming.slice(-20), outgoing: tail.outgoing.slice(-20) }));
  socket.use(([name], next) => next(name === "blocked" ? new Error("blocked by middleware") : undefined));
  socket.on("error", (error) => {
    if (error.message === "blocked by middleware") socket.emit("refused", error.message);
  });
  socket.on("blocked", () => socket.emit("not_blocked"));
}

function serve(namespace) {
  namespace.use(middleware);
  namespace.on("connection", (socket) => {
    record(socket);
    watching(socket);
    values(socket, []);
    acks(socket);
    sending(socket);
    rooms(socket);
    endings(socket);
    if (socket.nsp.name === "/welcome") {
      socket.emit("welcome", socket.id);
      socket.emit("welcome", pattern(4));
    }
  });
}

serve(io.of("/"));
serve(io.of("/chat"));
serve(io.of("/welcome"));
serve(io.of(/^\/dyn-[\w-]+$/));
serve(io.of((name, auth, next) => setImmediate(next, null, name.startsWith("/auth-") && auth.allow === true)));

const separator = flags.listen.lastIndexOf(":");
const host = flags.listen.slice(0, separator);
http.listen(Number(flags.listen.slice(separator + 1)), host, () => {
  console.log(`listening on ${host}:${http.address().port}`);
});
process.on("SIGTERM", () => {
  io.close(() => process.exit(0));
  http.closeAllConnections();
});
