// PROTOCOL.md on the stock Node server: what the page is developed and tested against. Not part of the demo.

import { createServer } from "node:http";
import { readFile } from "node:fs/promises";
import { Server } from "socket.io";

const ROOMS = ["square", "market", "night-watch"];
const HISTORY_SENT = 50;
const HISTORY_KEPT = 500;

const FILES = {
  "/": ["index.html", "text/html; charset=utf-8"],
  "/chat.js": ["chat.js", "text/javascript; charset=utf-8"],
  "/chat.css": ["chat.css", "text/css; charset=utf-8"],
};
const HEADERS = {
  "content-security-policy":
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
  "x-content-type-options": "nosniff",
  "referrer-policy": "no-referrer",
  "cache-control": "no-cache",
};

const http = createServer(async (request, response) => {
  const file = FILES[new URL(request.url, "http://localhost").pathname];
  if (!file || !["GET", "HEAD"].includes(request.method)) return void response.writeHead(file ? 405 : 404, HEADERS).end();
  const body = await readFile(new URL(`dist/${file[0]}`, import.meta.url));
  response.writeHead(200, { ...HEADERS, "content-type": file[1] }).end(request.method === "HEAD" ? undefined : body);
});

const io = new Server(http, { pingInterval: 5_000, pingTimeout: 5_000, connectionStateRecovery: { maxDisconnectionDuration: 120_000 } });
const epoch = String(Date.now());
const rooms = new Map(ROOMS.map((id) => [id, { seq: 0, log: [], members: new Map() }]));

const clean = (value, length) => (typeof value === "string" && value.length <= length ? value.trim() : "");
const refuse = (code, message) => ({ ok: false, error: { code, message } });

/** One entry per person, in the order of their coming, even when a person has several windows. */
function membersOf(room) {
  return [...new Map([...room.members.values()].map((member) => [member.user, member])).values()];
}

io.on("connection", (socket) => {
  socket.emit("kentongan:position", {});

  socket.on("join", (request, answer) => {
    if (typeof answer !== "function") return;
    const room = rooms.get(request?.room);
    const user = clean(request?.user, 64);
    const name = clean(request?.name, 32);
    if (!room) return answer(refuse("no_such_room", "There is no such room."));
    if (!user || !name) return answer(refuse("bad_name", "A name has 1 to 32 characters."));
    socket.join(request.room);
    room.members.set(socket.id, { user, name });
    answer({ ok: true, epoch, history: room.log.slice(-HISTORY_SENT), members: membersOf(room) });
    io.to(request.room).emit("members", { room: request.room, members: membersOf(room) });
  });

  socket.on("post", (request, answer) => {
    if (typeof answer !== "function") return;
    const room = rooms.get(request?.room);
    const member = room?.members.get(socket.id);
    const id = clean(request?.id, 64);
    const text = clean(request?.text, 2000);
    if (!member) return answer(refuse("not_joined", "You are not in this room."));
    if (!id || !text) return answer(refuse("bad_message", "A message has 1 to 2000 characters."));
    const known = room.log.find((message) => message.id === id && message.user === member.user);
    if (known) return answer({ ok: true, seq: known.seq, at: known.at });
    const message = { room: request.room, id, seq: ++room.seq, user: member.user, name: member.name, text, at: Date.now() };
    room.log.push(message);
    if (room.log.length > HISTORY_KEPT) room.log.shift();
    socket.to(request.room).emit("message", message);
    answer({ ok: true, seq: message.seq, at: message.at });
  });

  socket.on("typing", (request) => {
    const member = rooms.get(request?.room)?.members.get(socket.id);
    if (member) socket.volatile.to(request.room).emit("typing", { room: request.room, ...member, on: request.on === true });
  });

  socket.on("disconnect", () => {
    for (const [id, room] of rooms) {
      if (room.members.delete(socket.id)) io.to(id).emit("members", { room: id, members: membersOf(room) });
    }
  });
});

const listen = process.argv[process.argv.indexOf("--listen") + 1] ?? "127.0.0.1:3000";
const [host, port] = listen.split(":");
http.listen(Number(port), host, () => console.log(`listening on http://${host}:${http.address().port}`));
