// What travels between this page and the server: PROTOCOL.md as types.
// Knows nothing of sockets or of the document.

export interface RoomInfo {
  readonly id: string;
  readonly title: string;
  readonly about: string;
}

/** The rooms there are. The server accepts exactly these ids. */
export const ROOMS: readonly RoomInfo[] = [
  { id: "square", title: "Village square", about: "Everyone, about everything" },
  { id: "market", title: "Market", about: "Who brings what, and when" },
  { id: "night-watch", title: "Night watch", about: "For those still awake" },
];

/** In characters (UTF-16 units, as the form fields count them); the server refuses anything longer. */
export const NAME_LENGTH_MAX = 32;
export const TEXT_LENGTH_MAX = 2000;

export interface Member {
  readonly user: string;
  readonly name: string;
}

export interface Message {
  readonly room: string;
  /** Made by the sender. The same id sent again is the same message: that makes a retry safe. */
  readonly id: string;
  /** Place in the room's order: 1, 2, 3, … within one epoch. */
  readonly seq: number;
  readonly user: string;
  readonly name: string;
  readonly text: string;
  /** Unix time in milliseconds, by the server's clock. */
  readonly at: number;
}

export type Refused = { readonly ok: false; readonly error: { readonly code: string; readonly message: string } };
export type JoinAnswer =
  | { readonly ok: true; readonly epoch: string; readonly history: Message[]; readonly members: Member[] }
  | Refused;
export type PostAnswer = { readonly ok: true; readonly seq: number; readonly at: number } | Refused;

export interface ClientEvents {
  join(request: { room: string; user: string; name: string }, answer: (answer: JoinAnswer) => void): void;
  post(request: { room: string; id: string; text: string }, answer: (answer: PostAnswer) => void): void;
  typing(request: { room: string; on: boolean }): void;
}

// Every handler reads its first argument only: with recovery on, the server appends its position as one more.
export interface ServerEvents {
  message(message: Message): void;
  members(change: { room: string; members: Member[] }): void;
  typing(change: { room: string; user: string; name: string; on: boolean }): void;
}
