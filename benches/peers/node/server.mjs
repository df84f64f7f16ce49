// Node's socket.io on ws, without its optional native parts, with the handlers of the benchmark.
// usage: node server.mjs PORT
import { createServer } from "node:http";
import { Server } from "socket.io";

const http = createServer((_request, response) => response.writeHead(404).end());
const io = new Server(http);

io.on("connection", (socket) => {
  socket.on("echo", (payload, ack) => {
    socket.emit("echo", payload);
    ack?.(payload);
  });
  socket.on("join", (room, ack) => {
    socket.join(room);
    ack?.();
  });
  socket.on("bcast", (room, payload) => io.to(room).emit("msg", payload));
  socket.on("bcastn", (room, payload, times) => {
    for (let sent = 0; sent < times; sent += 1) io.to(room).emit("msg", payload);
  });
});

http.listen(Number(process.argv[2]), "127.0.0.1", () => console.log(`listening on 127.0.0.1:${http.address().port}`));
