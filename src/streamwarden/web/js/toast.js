// Short notices at the foot of the page, read out to who cannot see them.

import { h } from "./dom.js";

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
 */
export function toast(text, kind = "good") {
  while (polite.childElementCount >= MOST) polite.firstElementChild?.remove();
  const shown = h("div", { class: `toast ${kind}`, text });
  polite.append(shown);
  setTimeout(() => shown.remove(), kind === "bad" ? 2 * SHOWN_MS : SHOWN_MS);
}
