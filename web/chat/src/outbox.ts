// Own messages that the server has not confirmed, kept over a reload of the page. Sending one twice is harmless: same id.

import { load, save } from "./identity";
import type { Entry, Room } from "./room";

const KEY = "chat.outbox";
/** More than this unsent is refused, with a word about it. */
export const OUTBOX_MAX = 50;

export function keepOutbox(rooms: readonly Room[]): void {
  const waiting = rooms.flatMap((room) => room.waiting().map((entry) => ({ room: room.info.id, entry })));
  save(KEY, JSON.stringify(waiting));
}

export function restoreOutbox(rooms: readonly Room[]): void {
  let kept: unknown;
  try {
    kept = JSON.parse(load(KEY) ?? "[]");
  } catch {
    return;
  }
  if (!Array.isArray(kept)) return;
  for (const item of kept as { room: string; entry: Entry }[]) {
    rooms.find((room) => room.info.id === item.room)?.addOwn({ ...item.entry, delivery: "sending", error: "" });
  }
}
