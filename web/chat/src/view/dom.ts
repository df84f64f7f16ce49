// The few things the views need of the document. Text from people goes in as text nodes only, never as markup.

export function byId<T extends HTMLElement>(id: string, type: new () => T): T {
  const found = document.getElementById(id);
  if (!(found instanceof type)) throw new Error(`index.html has no ${type.name} #${id}`);
  return found;
}

export function element<K extends keyof HTMLElementTagNameMap>(tag: K, className = "", text = ""): HTMLElementTagNameMap[K] {
  const made = document.createElement(tag);
  if (className) made.className = className;
  if (text) made.textContent = text;
  return made;
}

/** Writes only what differs, so that a screen reader hears changes and nothing else. */
export function setText(node: Node, text: string): void {
  if (node.textContent !== text) node.textContent = text;
}

/** Makes `list` show exactly `nodes`, in this order, moving as little as possible. */
export function arrange(list: Element, nodes: readonly Element[]): void {
  const wanted = new Set<Element>(nodes);
  for (const child of [...list.children]) if (!wanted.has(child)) child.remove();
  nodes.forEach((node, index) => {
    const there = list.children[index] ?? null;
    if (there !== node) list.insertBefore(node, there);
  });
}

/** One of eight tones of the style sheet; the same person always has the same one. */
export function toneOf(user: string): string {
  let hash = 0;
  for (const unit of user) hash = (hash * 31 + (unit.codePointAt(0) ?? 0)) >>> 0;
  return `tone-${hash % 8}`;
}

export function avatar(user: string, name: string): HTMLElement {
  const initials = name.split(" ").filter(Boolean).slice(0, 2).map((word) => [...word][0] ?? "").join("");
  const made = element("span", `avatar ${toneOf(user)}`, initials.toUpperCase());
  made.setAttribute("aria-hidden", "true");
  return made;
}
