// The message list of the current room. Nodes are kept per message, so an update touches only what changed.

import type { Entry, Room } from "../room";
import { arrange, avatar, byId, element, setText } from "./dom";

/** Messages of one person within this time stand together under one name. */
const GROUP_MS = 5 * 60_000;
/** Nearer to the end than this counts as reading along. */
const NEAR_END_PX = 80;
/** A message that is confirmed faster than this never shows that it was on its way. */
const SLOW_MS = 1_000;

interface Line {
  readonly item: HTMLLIElement;
  readonly name: HTMLElement;
  readonly time: HTMLTimeElement;
  readonly delivery: HTMLElement;
  readonly error: HTMLElement;
}

export class MessagesView {
  onRetry: (id: string) => void = () => {};
  onDiscard: (id: string) => void = () => {};
  onSeen: () => void = () => {};
  private readonly scroller = byId("scroller", HTMLElement);
  private readonly list = byId("messages", HTMLElement);
  private readonly empty = byId("empty", HTMLElement);
  private readonly notice = byId("notice", HTMLElement);
  private readonly below = byId("below", HTMLButtonElement);
  private readonly typing = byId("typing", HTMLElement);
  private readonly typingText = byId("typing-text", HTMLElement);
  private lines = new Map<string, Line>();
  private shown: Room | null = null;
  private lastCount = 0;

  constructor(private readonly me: string) {
    this.below.addEventListener("click", () => this.toEnd());
    this.scroller.addEventListener("scroll", () => {
      if (!this.atEnd()) return;
      this.below.hidden = true;
      this.onSeen();
    });
    // The list's height changes with the window, the composer and the typing line: stay at the end if we were there.
    let follow = true;
    this.scroller.addEventListener("scroll", () => { follow = this.atEnd(); });
    new ResizeObserver(() => { if (follow) this.toEnd(); }).observe(this.scroller);
  }

  atEnd(): boolean {
    const { scrollHeight, scrollTop, clientHeight } = this.scroller;
    return scrollHeight - scrollTop - clientHeight < NEAR_END_PX;
  }

  toEnd(): void {
    this.scroller.scrollTop = this.scroller.scrollHeight;
  }

  show(room: Room, connected: boolean, now: number): void {
    const switched = this.shown !== room;
    const follow = switched || this.atEnd();
    if (switched) this.enter(room);
    const entries = room.list();
    arrange(this.list, this.nodes(room, entries, connected, now));
    this.empty.hidden = entries.length > 0 || !room.joined;
    this.notice.hidden = room.notice === "";
    setText(this.notice, room.notice);
    this.showTyping(room.typists(now));
    if (follow || entries.at(-1)?.seq === null) this.toEnd();
    else if (entries.length > this.lastCount) this.below.hidden = false;
    this.lastCount = entries.length;
    // A whole room put in place is not news; only what is added afterwards is read aloud.
    if (switched) setTimeout(() => this.list.setAttribute("aria-live", "polite"), 500);
  }

  private enter(room: Room): void {
    this.shown = room;
    this.lines = new Map();
    this.list.replaceChildren();
    this.list.setAttribute("aria-live", "off");
    this.list.setAttribute("aria-label", `Messages in ${room.info.title}`);
    this.below.hidden = true;
  }

  private nodes(room: Room, entries: readonly Entry[], connected: boolean, now: number): HTMLLIElement[] {
    const nodes: HTMLLIElement[] = [];
    const gone = new Set(this.lines.keys());
    let before: Entry | null = null;
    let divided = room.divider === null;
    for (const entry of entries) {
      gone.delete(entry.id);
      const newDay = before === null || dayOf(before.at) !== dayOf(entry.at);
      if (newDay) nodes.push(this.separator(`day ${dayOf(entry.at)}`, "day", dayText(entry.at, now)));
      let cut = newDay;
      const divider = room.divider;
      if (!divided && divider && entry.seq !== null && entry.seq > divider.seq && entry.user !== this.me) {
        divided = cut = true;
        const text = divider.kind === "away" ? "While you were away" : "New";
        nodes.push(this.separator("divider", "new", text));
      }
      const grouped = !cut && before !== null && before.user === entry.user && before.name === entry.name && entry.at - before.at < GROUP_MS;
      nodes.push(this.line(entry, grouped, connected, now));
      before = entry;
    }
    for (const id of gone) if (!id.includes(" ") && id !== "divider") this.lines.delete(id);
    return nodes;
  }

  private line(entry: Entry, grouped: boolean, connected: boolean, now: number): HTMLLIElement {
    let line = this.lines.get(entry.id);
    if (!line) this.lines.set(entry.id, (line = this.make(entry)));
    line.item.classList.toggle("grouped", grouped);
    line.item.dataset["delivery"] = entry.delivery;
    setText(line.name, entry.name);
    setText(line.time, clockText(entry.at));
    line.time.dateTime = new Date(entry.at).toISOString();
    const waiting = !connected ? "Waiting for the connection" : now - entry.at > SLOW_MS ? "Still sending" : "Sending";
    setText(line.delivery, entry.delivery === "sending" ? waiting : entry.delivery === "failed" ? "Not sent" : "Sent");
    line.item.classList.toggle("slow", entry.delivery === "sending" && (!connected || now - entry.at > SLOW_MS));
    setText(line.error, entry.delivery === "failed" ? entry.error : "");
    return line.item;
  }

  private make(entry: Entry): Line {
    const own = entry.user === this.me;
    const item = element("li", own ? "message own" : "message");
    item.dataset["id"] = entry.id;
    const name = element("span", "name", entry.name);
    const time = element("time", "time");
    const delivery = element("span", "delivery");
    const error = element("span", "error");
    const head = element("div", "head");
    head.append(name);
    const text = element("p", "text", entry.text);
    text.dir = "auto";
    const foot = element("span", "foot");
    foot.append(time);
    const bubble = element("div", "bubble");
    bubble.append(head, text, foot);
    item.append(avatar(entry.user, entry.name), bubble);
    if (own) {
      foot.append(delivery);
      item.append(this.failedRow(entry.id, error));
    }
    return { item, name, time, delivery, error };
  }

  private failedRow(id: string, error: HTMLElement): HTMLElement {
    const retry = element("button", "link", "Try again");
    retry.type = "button";
    retry.addEventListener("click", () => this.onRetry(id));
    const discard = element("button", "link", "Discard");
    discard.type = "button";
    discard.addEventListener("click", () => this.onDiscard(id));
    const row = element("div", "failed-row");
    row.append(error, retry, discard);
    return row;
  }

  /** Separators are kept like messages; their keys hold a blank or are no message id. */
  private separator(key: string, kind: string, text: string): HTMLLIElement {
    let line = this.lines.get(key);
    if (!line) {
      const item = element("li", `separator ${kind}`);
      const name = element("span");
      item.append(name);
      line = { item, name, time: element("time"), delivery: name, error: name };
      this.lines.set(key, line);
    }
    setText(line.name, text);
    return line.item;
  }

  private showTyping(names: readonly string[]): void {
    this.typing.classList.toggle("on", names.length > 0);
    const [first, second] = names;
    if (first === undefined) setText(this.typingText, "");
    else if (second === undefined) setText(this.typingText, `${first} is typing`);
    else if (names.length === 2) setText(this.typingText, `${first} and ${second} are typing`);
    else setText(this.typingText, "Several people are typing");
  }
}

function dayOf(at: number): string {
  return new Date(at).toDateString();
}

function dayText(at: number, now: number): string {
  if (dayOf(at) === dayOf(now)) return "Today";
  return new Date(at).toLocaleDateString(undefined, { weekday: "long", day: "numeric", month: "long" });
}

function clockText(at: number): string {
  return new Date(at).toLocaleTimeString(undefined, { hour: "2-digit", minute: "2-digit" });
}
