// Ties it together: the line below, the rooms in the middle, the views on top.

import { Connection, type TransportChoice } from "./connection";
import { keepName, keptName, load, randomId, save, userId } from "./identity";
import { keepOutbox, OUTBOX_MAX, restoreOutbox } from "./outbox";
import { ROOMS } from "./protocol";
import { type Entry, Room } from "./room";
import { Composer } from "./view/composer";
import { byId, setText, toneOf } from "./view/dom";
import { MessagesView } from "./view/messages";
import { NameView } from "./view/name";
import { MembersView, RoomsView } from "./view/people";
import { StatusView } from "./view/status";

const ROOM_KEY = "chat.room";
const ANSWER_MAX_MS = 10_000;
const OFFLINE_AFTER_MS = 30_000;

const query = new URLSearchParams(location.search);
// `?offline-after=5` shortens the 30 s, for tests and for showing it.
const offlineAfterMs = Number(query.get("offline-after")) * 1000 || OFFLINE_AFTER_MS;

const me = userId();
const rooms = ROOMS.map((info) => new Room(info, me));
const line = new Connection(chosenTransport(), offlineAfterMs);
const { socket } = line;

const status = new StatusView(offlineAfterMs);
const roomsView = new RoomsView(rooms);
const membersView = new MembersView(me);
const messagesView = new MessagesView(me);
const composer = new Composer();
const nameView = new NameView(toneOf(me));
const transport = byId("transport", HTMLSelectElement);
const roomTitle = byId("room-title", HTMLElement);
const roomAbout = byId("room-about", HTMLElement);
const composerNote = byId("composer-note", HTMLElement);

let name = keptName();
let current = roomOf(load(ROOM_KEY) ?? "") ?? rooms[0]!;
let drawing = false;
let clock = 0;

// ---- the line

line.onState = (state) => {
  status.show(state);
  document.body.dataset["phase"] = state.phase;
  draw();
};
line.onConnected = () => {
  for (const room of rooms) join(room);
};
line.onLost = () => {
  for (const room of rooms) room.handleLost();
};

socket.on("message", (message) => {
  roomOf(message.room)?.handleMessage(message);
  draw();
});
socket.on("members", (change) => {
  roomOf(change.room)?.handleMembers(change.members);
  draw();
});
socket.on("typing", (change) => {
  roomOf(change.room)?.handleTyping(change.user, change.name, change.on, Date.now());
  draw();
});

/** Asked on every connection, recovered or not: the answer is merged by message id, so nothing shows twice. */
function join(room: Room): void {
  if (name === null || !socket.connected) return;
  socket.timeout(ANSWER_MAX_MS).emit("join", { room: room.info.id, user: me, name }, (error, answer) => {
    if (error) {
      // A lost line starts over by itself; an answer that never came on a good line is asked for again.
      if (socket.connected) join(room);
      return;
    }
    if (!answer.ok) {
      room.notice = answer.error.message;
      return draw();
    }
    const missed = room.handleJoin(answer.epoch, answer.history, answer.members);
    if (missed > 0) status.showMissed(missed);
    for (const entry of room.waiting()) if (entry.delivery === "sending") post(room, entry);
    keepOutbox(rooms);
    draw();
  });
}

function post(room: Room, entry: Entry): void {
  if (!room.joined) return;
  socket.timeout(ANSWER_MAX_MS).emit("post", { room: room.info.id, id: entry.id, text: entry.text }, (error, answer) => {
    if (error) {
      if (socket.connected) room.setDelivery(entry.id, "failed", "No answer from the server.");
    } else if (answer.ok) {
      room.handlePosted(entry.id, answer.seq, answer.at);
    } else {
      room.setDelivery(entry.id, "failed", answer.error.message);
    }
    keepOutbox(rooms);
    draw();
  });
}

// ---- the person

composer.onSend = (text) => {
  const full = current.waiting().length >= OUTBOX_MAX;
  setText(composerNote, full ? `${OUTBOX_MAX} messages are waiting: please let them go out first.` : "");
  if (full || name === null) return false;
  const entry: Entry = { id: randomId(), user: me, name, text, at: Date.now(), seq: null, delivery: "sending", error: "" };
  current.addOwn(entry);
  current.divider = null;
  keepOutbox(rooms);
  post(current, entry);
  draw();
  messagesView.toEnd();
  return true;
};
composer.onTyping = (on) => {
  // Not sent without a line, where it would be kept for later. Not volatile either: the client would
  // drop it whenever another message is just being written, and the sign would come 3 s late.
  if (current.joined) socket.emit("typing", { room: current.info.id, on });
};
messagesView.onRetry = (id) => {
  current.setDelivery(id, "sending");
  const entry = current.waiting().find((waiting) => waiting.id === id);
  if (entry) post(current, entry);
  draw();
};
messagesView.onDiscard = (id) => {
  current.discard(id);
  keepOutbox(rooms);
  draw();
};
messagesView.onSeen = () => draw();
roomsView.onChoose = (room) => {
  if (room !== current) enter(room);
  composer.focus();
};
nameView.onName = (chosen) => {
  name = chosen;
  keepName(chosen);
  nameView.show(chosen);
  for (const room of rooms) join(room);
  composer.focus();
};
status.onRetry = () => line.retryNow();
transport.addEventListener("change", () => {
  const url = new URL(location.href);
  if (transport.value === "auto") url.searchParams.delete("transport");
  else url.searchParams.set("transport", transport.value);
  history.replaceState(null, "", url);
  line.chooseTransport(chosenTransport());
});
document.addEventListener("visibilitychange", () => {
  if (document.visibilityState === "visible") {
    current.divideUnread();
    draw();
  }
});

function enter(room: Room): void {
  current.divider = null;
  composer.addressTo(room.info.title);
  current = room;
  room.divideUnread();
  save(ROOM_KEY, room.info.id);
  draw();
}

// ---- drawing

/** Once per turn, however much changed. Not by animation frame: a hidden tab has none, and its title must count. */
function draw(): void {
  if (drawing) return;
  drawing = true;
  queueMicrotask(() => {
    drawing = false;
    drawNow();
  });
}

function drawNow(): void {
  const now = Date.now();
  for (const room of rooms) room.expireTyping(now);
  setText(roomTitle, current.info.title);
  setText(roomAbout, current.info.about);
  messagesView.show(current, socket.connected, now);
  if (document.visibilityState === "visible" && messagesView.atEnd()) current.markRead();
  membersView.show(current, socket.connected);
  roomsView.show(current);
  const unread = rooms.reduce((sum, room) => sum + room.unread(), 0);
  document.title = unread > 0 ? `(${unread}) Kentongan chat` : "Kentongan chat";
  // Typing signs run out and sending grows slow without any event: look again while there is such a thing.
  clearTimeout(clock);
  const restless = current.typingUntil() !== null || current.waiting().some((entry) => entry.delivery === "sending");
  if (restless) clock = setTimeout(draw, 500);
}

function roomOf(id: string): Room | undefined {
  return rooms.find((room) => room.info.id === id);
}

function chosenTransport(): TransportChoice {
  const chosen = new URLSearchParams(location.search).get("transport");
  return chosen === "polling" || chosen === "websocket" ? chosen : "auto";
}

// ---- start

// On a narrow screen the list of people is a panel over the messages, so it starts closed there.
const narrow = matchMedia("(max-width: 640px)");
const membersPanel = byId("members-panel", HTMLDetailsElement);
const fitPanel = (): void => {
  membersPanel.open = !narrow.matches;
};
narrow.addEventListener("change", fitPanel);
fitPanel();

restoreOutbox(rooms);
transport.value = chosenTransport();
composer.addressTo(current.info.title);
line.open();
if (name === null) {
  nameView.ask();
} else {
  nameView.show(name);
  composer.focus();
}
draw();
