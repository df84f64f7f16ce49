// The connection state, always visible, in words. The countdown ticks here and is not read aloud; changes of state are.

import type { LineState } from "../connection";
import { byId, setText } from "./dom";

const TICK_MS = 250;
/** How long the good news after a return stays. */
const COMEBACK_SHOWN_MS = 8_000;

export class StatusView {
  onRetry: () => void = () => {};
  private readonly bar = byId("status", HTMLElement);
  private readonly label = byId("status-label", HTMLElement);
  private readonly detail = byId("status-detail", HTMLElement);
  private readonly retry = byId("retry", HTMLButtonElement);
  private readonly spoken = byId("spoken", HTMLElement);
  private state: LineState | null = null;
  private missed = 0;
  private ticker = 0;
  private comebackUntil = 0;

  constructor(private readonly offlineAfterMs: number) {
    this.retry.addEventListener("click", () => this.onRetry());
  }

  show(state: LineState): void {
    const before = this.state;
    this.state = state;
    if (state.phase === "connected" && before?.phase !== "connected") {
      this.comebackUntil = state.comeback === "none" ? 0 : Date.now() + COMEBACK_SHOWN_MS;
      this.missed = 0;
    }
    if (before?.phase !== state.phase) this.speak();
    clearInterval(this.ticker);
    this.ticker = state.retryAt !== null || this.comebackUntil > Date.now() ? setInterval(() => this.draw(), TICK_MS) : 0;
    this.draw();
  }

  /** How many messages of others came while the line was gone; known only after the rooms have answered. */
  showMissed(count: number): void {
    this.missed += count;
    this.draw();
  }

  private draw(): void {
    const state = this.state;
    if (!state) return;
    const fresh = state.phase === "connected" && this.comebackUntil > Date.now();
    this.bar.dataset["phase"] = state.phase;
    this.bar.dataset["transport"] = state.transport ?? "";
    this.bar.dataset["attempt"] = String(state.attempt);
    this.bar.dataset["comeback"] = state.comeback;
    this.bar.classList.toggle("fresh", fresh);
    setText(this.label, labelOf(state));
    setText(this.detail, state.phase === "connected" ? this.connectedDetail(state, fresh) : this.waitingDetail(state));
    this.retry.hidden = !(state.retryAt !== null || state.phase === "refused");
    if (state.retryAt === null && !fresh) clearInterval(this.ticker);
  }

  private connectedDetail(state: LineState, fresh: boolean): string {
    const parts = [transportText(state)];
    if (fresh) parts.push(state.comeback === "recovered" ? "recovered, nothing lost" : "reloaded from the server");
    if (fresh && this.missed > 0) parts.push(this.missed === 1 ? "1 new message" : `${this.missed} new messages`);
    return parts.join(" · ");
  }

  private waitingDetail(state: LineState): string {
    if (state.phase === "refused") return state.refusal || "the server said no";
    const parts: string[] = [];
    if (state.phase === "offline") {
      parts.push(state.browserOffline ? "your device has no network" : `no answer for ${Math.round(this.offlineAfterMs / 1000)} s`);
    }
    if (state.retryAt !== null) {
      const seconds = Math.max(1, Math.ceil((state.retryAt - Date.now()) / 1000));
      parts.push(`next try in ${seconds} s`);
    } else {
      parts.push("trying now");
    }
    if (state.attempt > 0) parts.push(`attempt ${state.attempt}`);
    return parts.join(" · ");
  }

  private speak(): void {
    const state = this.state;
    if (!state) return;
    const comeback = state.phase === "connected" && state.comeback !== "none" ? " again" : "";
    setText(this.spoken, `${labelOf(state)}${comeback}.`);
  }
}

function labelOf(state: LineState): string {
  switch (state.phase) {
    case "connected": return "Connected";
    case "connecting": return "Connecting";
    case "reconnecting": return "Reconnecting";
    case "offline": return "Offline";
    case "refused": return "Refused";
  }
}

function transportText(state: LineState): string {
  if (state.transport === "websocket") return "WebSocket";
  if (state.upgrade === "failed") return "long-polling (WebSocket is blocked)";
  return "long-polling";
}
