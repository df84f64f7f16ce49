// Who this window is. Kept in sessionStorage: a reload is the same person, a second window is another one.

import { NAME_LENGTH_MAX } from "./protocol";

const USER_KEY = "chat.user";
const NAME_KEY = "chat.name";

const QUALITIES = ["Brave", "Bright", "Calm", "Early", "Gentle", "Keen", "Merry", "Patient", "Quick", "Quiet", "Steady", "Wise"];
const ANIMALS = ["Banteng", "Elang", "Jalak", "Kancil", "Kerbau", "Kijang", "Kupu", "Lutung", "Merak", "Pelanduk", "Tokek", "Trenggiling"];

/** 96 random bits. `crypto.randomUUID` would need a secure context, which a page on a plain LAN address is not. */
export function randomId(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(12));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

export function userId(): string {
  const kept = load(USER_KEY);
  if (kept !== null) return kept;
  const made = randomId();
  save(USER_KEY, made);
  return made;
}

export function keptName(): string | null {
  return load(NAME_KEY);
}

export function keepName(name: string): void {
  save(NAME_KEY, name);
}

export function suggestedName(): string {
  const pick = (words: readonly string[]): string => words[Math.floor(Math.random() * words.length)] ?? "";
  return `${pick(QUALITIES)} ${pick(ANIMALS)}`;
}

/** One line without surrounding blanks, not longer than the server takes; empty when nothing is left. */
export function cleanName(typed: string): string {
  return typed.replace(/\s+/g, " ").trim().slice(0, NAME_LENGTH_MAX).trim();
}

/** sessionStorage may be switched off; the chat then works, and a reload is a new person. */
export function load(key: string): string | null {
  try {
    return sessionStorage.getItem(key);
  } catch {
    return null;
  }
}

export function save(key: string, value: string): void {
  try {
    sessionStorage.setItem(key, value);
  } catch {
    // Nothing to do: see `load`.
  }
}
