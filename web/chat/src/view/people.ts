// The side column: rooms with their unread marks, and who is here.

import type { Room } from "../room";
import { arrange, avatar, byId, element, setText } from "./dom";

export class RoomsView {
  onChoose: (room: Room) => void = () => {};
  private readonly buttons = new Map<Room, { button: HTMLButtonElement; badge: HTMLElement; hidden: HTMLElement }>();

  constructor(rooms: readonly Room[]) {
    const list = byId("rooms", HTMLElement);
    for (const room of rooms) {
      const item = element("li");
      const button = element("button", "room");
      button.type = "button";
      button.dataset["room"] = room.info.id;
      const badge = element("span", "badge");
      badge.setAttribute("aria-hidden", "true");
      const hidden = element("span", "visually-hidden");
      button.append(element("span", "room-title", room.info.title), badge, hidden);
      button.addEventListener("click", () => this.onChoose(room));
      item.append(button);
      list.append(item);
      this.buttons.set(room, { button, badge, hidden });
    }
  }

  show(current: Room): void {
    for (const [room, { button, badge, hidden }] of this.buttons) {
      const unread = room.unread();
      if (room === current) button.setAttribute("aria-current", "true");
      else button.removeAttribute("aria-current");
      button.classList.toggle("has-unread", unread > 0);
      setText(badge, unread === 0 ? "" : unread > 99 ? "99+" : String(unread));
      setText(hidden, unread === 0 ? "" : `, ${unread} unread`);
    }
  }
}

export class MembersView {
  private readonly list = byId("members", HTMLElement);
  private readonly title = byId("members-title", HTMLElement);
  private readonly count = byId("member-count", HTMLElement);
  private readonly nodes = new Map<string, { item: HTMLLIElement; name: string }>();

  constructor(private readonly me: string) {}

  show(room: Room, connected: boolean): void {
    this.list.classList.toggle("stale", !connected);
    // Without a line nobody knows who is here.
    setText(this.title, connected ? "Here now" : "Last seen here");
    setText(this.count, String(room.members.length));
    const gone = new Set(this.nodes.keys());
    const items = room.members.map((member) => {
      gone.delete(member.user);
      const known = this.nodes.get(member.user);
      if (known && known.name === member.name) return known.item;
      const item = this.item(member.user, member.name);
      this.nodes.set(member.user, { item, name: member.name });
      return item;
    });
    for (const user of gone) this.nodes.delete(user);
    arrange(this.list, items);
  }

  private item(user: string, name: string): HTMLLIElement {
    const item = element("li", "member");
    item.dataset["user"] = user;
    const label = element("span", "member-name", name);
    label.title = name;
    item.append(avatar(user, name), label);
    if (user === this.me) item.append(element("span", "you", "you"));
    return item;
  }
}
