// The start: who is it, which page, and again whenever either changes.

import { pageBase } from "./api.js";
import { cameraCard } from "./cameras/card.js";
import { camerasPage } from "./cameras/page.js";
import { learnServerTime } from "./clock.js";
import { h } from "./dom.js";
import { restoreLanguage, t } from "./i18n.js";
import { place } from "./router.js";
import { currentUser, offeredUser, restore, useRolesClaim } from "./session.js";
import { shell } from "./shell.js";
import { signInPage, switchPage } from "./signin.js";
import { toastPlace } from "./toast.js";

/** @typedef {{element: HTMLElement, close: () => void, title?: string}} Page */

/** @type {Page|null} */
let shown = null;
let whySignedOut = "";
let turn = 0;

/** What only some pages need is loaded when one of them is opened. */
const PAGES = {
  cameras: async () => camerasPage({ card: cameraCard }),
  camera: async (where) => (await import("./camera/page.js")).cameraPage(where),
  recordings: async (where) => (await import("./recordings/page.js")).recordingsPage(where),
  operations: async () => (await import("./operations/page.js")).operationsPage(),
  nowhere: async () => ({ element: h("p", { class: "empty", text: t("nowhere") }), close() {} }),
};

async function show() {
  const mine = ++turn;
  shown?.close();
  shown = null;
  const page = await pageOf(offeredUser());
  if (mine !== turn) {
    page.close(); // another page was asked for meanwhile
    return;
  }
  shown = page;
  document.title = page.title ? `${page.title} · streamwarden` : "streamwarden";
  document.body.replaceChildren(...shell(page.element, place().name), toastPlace());
}

/** @param {import("./session.js").User|null} offered @returns {Promise<Page>} */
async function pageOf(offered) {
  if (offered) return switchPage(offered);
  return currentUser() ? PAGES[place().name](place()) : signInPage(whySignedOut);
}

async function learnConfig() {
  const sentAt = Date.now();
  const answer = await fetch(`${pageBase()}config.json`, { credentials: "omit" });
  learnServerTime(answer.headers.get("Date"), sentAt);
  const config = await answer.json();
  /** @type {any} */ (window).streamwardenConfig = Object.freeze(config);
  useRolesClaim(config.roles_claim);
}

addEventListener("hashchange", () => {
  if (location.hash.startsWith("#token=")) restore();
  else show();
});
addEventListener("languagechosen", show);
addEventListener("sessionchanged", (event) => {
  whySignedOut = /** @type {CustomEvent} */ (event).detail;
  show();
});

restoreLanguage();
restore();
learnConfig().catch(() => useRolesClaim("roles"));
show();
