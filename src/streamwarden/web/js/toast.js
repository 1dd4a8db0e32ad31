// Short notices at the foot of the page, read out to who cannot see them.

import { button, h } from "./dom.js";

const SHOWN_MS = 6_000;
const MOST = 3;
const polite = h("div", { class: "toasts", role: "status", "aria-live": "polite" });

/** The place that notices appear in. */
export function toastPlace() {
  return polite;
}

/**
 * @param {string} text
 * @param {"good"|"bad"} [kind]
 * @param {{label: string, press: () => void, shownMs: number}|null} [action] a button beside the text
 */
export function toast(text, kind = "good", action = null) {
  while (polite.childElementCount >= MOST) polite.firstElementChild?.remove();
  const act = action && button(action.label, () => (shown.remove(), action.press()), { look: "quiet" });
  const shown = h("div", { class: `toast ${kind}` }, h("span", { text }), act);
  polite.append(shown);
  const shownMs = action?.shownMs ?? (kind === "bad" ? 2 * SHOWN_MS : SHOWN_MS);
  setTimeout(() => shown.remove(), shownMs);
}
