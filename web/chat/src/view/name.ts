// Asks for the name, with a suggestion in place; Enter takes it.

import { cleanName, suggestedName } from "../identity";
import { byId, setText } from "./dom";

export class NameView {
  onName: (name: string) => void = () => {};
  private readonly dialog = byId("name-dialog", HTMLDialogElement);
  private readonly form = byId("name-form", HTMLFormElement);
  private readonly field = byId("name", HTMLInputElement);
  private readonly me = byId("me-name", HTMLElement);
  private readonly avatar = byId("me-avatar", HTMLElement);
  private current: string | null = null;

  constructor(tone: string) {
    this.avatar.classList.add(tone);
    byId("rename", HTMLButtonElement).addEventListener("click", () => this.ask());
    byId("another", HTMLButtonElement).addEventListener("click", () => {
      this.field.value = suggestedName();
      this.field.select();
    });
    // The first question has to be answered; later ones may be left with Escape.
    this.dialog.addEventListener("cancel", (event) => {
      if (this.current === null) event.preventDefault();
    });
    this.form.addEventListener("submit", (event) => {
      event.preventDefault();
      const name = cleanName(this.field.value) || suggestedName();
      this.dialog.close();
      this.onName(name);
    });
  }

  ask(): void {
    this.field.value = this.current ?? suggestedName();
    this.dialog.showModal();
    this.field.select();
  }

  show(name: string): void {
    this.current = name;
    setText(this.me, name);
    this.me.title = name;
    setText(this.avatar, name.split(" ").filter(Boolean).slice(0, 2).map((word) => [...word][0] ?? "").join("").toUpperCase());
  }
}
