// The text field: Enter sends, Shift+Enter breaks the line. Tells when typing starts and ends.

import { byId, setText } from "./dom";

/** Renewed this often while keys are pressed; others show the sign for longer than that. */
const TYPING_RENEW_MS = 3_000;
/** No key for this long: typing has ended. */
const TYPING_IDLE_MS = 3_000;
/** The count of characters left appears from here on. */
const NEAR_LIMIT = 200;

export class Composer {
  /** Returns whether the message was taken; when not, the text stays. */
  onSend: (text: string) => boolean = () => false;
  onTyping: (on: boolean) => void = () => {};
  private readonly form = byId("composer", HTMLFormElement);
  private readonly field = byId("text", HTMLTextAreaElement);
  private readonly left = byId("left", HTMLElement);
  private typingSince = 0;
  private idleTimer = 0;

  constructor() {
    this.form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.send();
    });
    this.field.addEventListener("keydown", (event) => {
      // While an input method composes, Enter belongs to it.
      if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
      event.preventDefault();
      this.send();
    });
    this.field.addEventListener("input", () => this.handleInput());
    this.field.addEventListener("blur", () => this.stopTyping());
  }

  focus(): void {
    this.field.focus();
  }

  addressTo(room: string): void {
    this.stopTyping();
    this.field.placeholder = `Message ${room}`;
  }

  stopTyping(): void {
    clearTimeout(this.idleTimer);
    if (this.typingSince === 0) return;
    this.typingSince = 0;
    this.onTyping(false);
  }

  private send(): void {
    const text = this.field.value.trim();
    if (text === "" || !this.onSend(text)) return;
    this.field.value = "";
    this.fit();
    this.stopTyping();
  }

  private handleInput(): void {
    this.fit();
    if (this.field.value.trim() === "") return this.stopTyping();
    const now = Date.now();
    if (now - this.typingSince > TYPING_RENEW_MS) {
      this.typingSince = now;
      this.onTyping(true);
    }
    clearTimeout(this.idleTimer);
    this.idleTimer = setTimeout(() => this.stopTyping(), TYPING_IDLE_MS);
  }

  private fit(): void {
    this.field.style.height = "auto";
    this.field.style.height = `${this.field.scrollHeight}px`;
    const left = this.field.maxLength - this.field.value.length;
    setText(this.left, left <= NEAR_LIMIT ? `${left} characters left` : "");
  }
}
