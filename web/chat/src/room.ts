// One room as this window knows it: its messages in order, who is here, who types, what is unread.
// Pure state: no socket, no document, and the time comes as an argument.

import type { Member, Message, RoomInfo } from "./protocol";
import { load, save } from "./identity";

/** `sending` covers waiting for the line as well; `failed` waits for the user. */
export type Delivery = "sent" | "sending" | "failed";

export interface Entry {
  readonly id: string;
  readonly user: string;
  name: string;
  readonly text: string;
  at: number;
  /** null until the server has placed it in the room's order. */
  seq: number | null;
  delivery: Delivery;
  /** Why it failed. */
  error: string;
}

/** A dividing line in the list, above everything after `seq`. */
export interface Divider {
  readonly seq: number;
  readonly kind: "unread" | "away";
}

const ENTRIES_MAX = 300;
/** A typing sign that is not renewed goes away by itself: the event that ends it may be lost. */
export const TYPING_SHOWN_MS = 5_000;

export class Room {
  members: readonly Member[] = [];
  joined = false;
  divider: Divider | null = null;
  /** What the last join could not restore, in words; empty when nothing. */
  notice = "";

  private entries = new Map<string, Entry>();
  private typing = new Map<string, { name: string; until: number }>();
  private epoch = "";
  private lastSeq = 0;
  private readSeq: number | null = null;
  private awaySeq: number | null = null;

  constructor(readonly info: RoomInfo, private readonly me: string) {
    const [epoch, seq] = (load(`chat.read.${info.id}`) ?? "").split(" ");
    if (epoch !== undefined && seq !== undefined) {
      this.epoch = epoch;
      this.readSeq = Number(seq) || 0;
    }
  }

  /** The line is gone. What others write from here on counts as written while this window was away. */
  handleLost(): void {
    this.joined = false;
    this.awaySeq ??= this.lastSeq;
    this.typing.clear();
  }

  /** Returns how many messages of others came in between. */
  handleJoin(epoch: string, history: readonly Message[], members: readonly Member[]): number {
    this.notice = "";
    const first = history[0]?.seq ?? 0;
    if (this.epoch !== "" && this.epoch !== epoch) {
      if (this.lastSeq > 0) this.notice = "The server was restarted: earlier messages are gone.";
      this.forgetSent();
      // The order starts anew, so nothing of it has been read, and all of it came while we were away.
      this.readSeq = 0;
      if (this.awaySeq !== null) this.awaySeq = 0;
    } else if (this.lastSeq > 0 && first > this.lastSeq + 1) {
      this.notice = "You were away for long: older messages are not shown.";
      this.forgetSent();
    }
    this.epoch = epoch;
    for (const message of history) this.add(message);
    this.members = members;
    this.joined = true;
    if (this.readSeq === null) this.markRead();
    return this.comeBack();
  }

  handleMessage(message: Message): void {
    this.add(message);
    this.typing.delete(message.user);
  }

  handleMembers(members: readonly Member[]): void {
    this.members = members;
    for (const user of this.typing.keys()) {
      if (!members.some((member) => member.user === user)) this.typing.delete(user);
    }
  }

  handleTyping(user: string, name: string, on: boolean, now: number): void {
    if (user === this.me) return;
    if (on) this.typing.set(user, { name, until: now + TYPING_SHOWN_MS });
    else this.typing.delete(user);
  }

  addOwn(entry: Entry): void {
    this.entries.set(entry.id, entry);
  }

  handlePosted(id: string, seq: number, at: number): void {
    const entry = this.entries.get(id);
    if (!entry) return;
    Object.assign(entry, { seq, at, delivery: "sent", error: "" });
    this.lastSeq = Math.max(this.lastSeq, seq);
  }

  setDelivery(id: string, delivery: "sending" | "failed", error = ""): void {
    const entry = this.entries.get(id);
    if (entry && entry.delivery !== "sent") Object.assign(entry, { delivery, error });
  }

  discard(id: string): void {
    if (this.entries.get(id)?.delivery === "failed") this.entries.delete(id);
  }

  /** Everything up to now has been seen. */
  markRead(): void {
    if (this.readSeq === this.lastSeq) return;
    this.readSeq = this.lastSeq;
    save(`chat.read.${this.info.id}`, `${this.epoch} ${this.readSeq}`);
  }

  /** Puts the line where the unread messages begin, when there are any. */
  divideUnread(): void {
    this.divider = this.unread() > 0 && this.readSeq !== null ? { seq: this.readSeq, kind: "unread" } : null;
  }

  unread(): number {
    return this.readSeq === null ? 0 : this.othersAfter(this.readSeq);
  }

  othersAfter(seq: number): number {
    let count = 0;
    for (const entry of this.entries.values()) if (entry.seq !== null && entry.seq > seq && entry.user !== this.me) count += 1;
    return count;
  }

  /** In the room's order; what the server has not placed yet comes last, in the order it was written. */
  list(): Entry[] {
    const placed = [...this.entries.values()].filter((entry) => entry.seq !== null);
    placed.sort((a, b) => (a.seq ?? 0) - (b.seq ?? 0));
    return [...placed, ...this.waiting()];
  }

  /** Own messages that the server has not confirmed. */
  waiting(): Entry[] {
    return [...this.entries.values()].filter((entry) => entry.seq === null);
  }

  typists(now: number): string[] {
    return [...this.typing.values()].filter((typist) => typist.until > now).map((typist) => typist.name);
  }

  /** When the next typing sign runs out, if there is one. */
  typingUntil(): number | null {
    const ends = [...this.typing.values()].map((typist) => typist.until);
    return ends.length > 0 ? Math.min(...ends) : null;
  }

  expireTyping(now: number): void {
    for (const [user, typist] of this.typing) if (typist.until <= now) this.typing.delete(user);
  }

  private add(message: Message): void {
    // Live, replayed and fetched again are all the same message when the id is the same.
    const { id, user, name, text, at, seq } = message;
    this.entries.set(id, { id, user, name, text, at, seq, delivery: "sent", error: "" });
    this.lastSeq = Math.max(this.lastSeq, seq);
    if (this.entries.size > ENTRIES_MAX) this.dropOldest();
  }

  private dropOldest(): void {
    const oldest = this.list()[0];
    if (oldest && oldest.seq !== null) this.entries.delete(oldest.id);
  }

  private forgetSent(): void {
    for (const entry of this.entries.values()) if (entry.seq !== null) this.entries.delete(entry.id);
    this.lastSeq = 0;
    this.divider = null;
  }

  private comeBack(): number {
    const from = this.awaySeq;
    this.awaySeq = null;
    if (from === null) return 0;
    const missed = this.othersAfter(from);
    if (missed > 0) this.divider = { seq: from, kind: "away" };
    return missed;
  }
}
