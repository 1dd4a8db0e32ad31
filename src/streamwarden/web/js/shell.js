// What surrounds every page: the name, the ways, who is signed in, the language.

import { clockError, duration } from "./clock.js";
import { h, setText } from "./dom.js";
import { LANGUAGES, chooseLanguage, currentLanguage, t } from "./i18n.js";
import { currentUser, isAdmin, signOut } from "./session.js";

const clockNotice = h("p", { class: "notice warn", role: "status", hidden: true });
addEventListener("servertimelearned", showClockError);

/**
 * @param {HTMLElement} content
 * @param {string} name of the page, to mark its link
 * @returns {HTMLElement[]}
 */
export function shell(content, name) {
  showClockError();
  const main = h("main", { id: "content", tabindex: "-1" }, clockNotice, content);
  return [
    h("a", { class: "skip", href: "#content", text: t("skip"), on: { click: skipTo(main) } }),
    header(name),
    main,
  ];
}

/** @param {HTMLElement} main */
function skipTo(main) {
  return (/** @type {Event} */ event) => {
    event.preventDefault();
    main.focus();
  };
}

/** @param {string} name */
function header(name) {
  const user = currentUser();
  return h(
    "header",
    { class: "top" },
    h("a", { class: "brand", href: "#/" }, h("img", { src: mark(), alt: "", width: 26, height: 26 }), "streamwarden"),
    user && ways(name),
    h("div", { class: "spacer" }),
    languageSwitch(),
    user && whoIsIt(user),
  );
}

const mark = () => new URL("../icon.svg", import.meta.url).pathname;

/** @param {string} name */
function ways(name) {
  const here = (/** @type {string[]} */ names) => (names.includes(name) ? "page" : null);
  return h(
    "nav",
    { "aria-label": t("nav") },
    h("a", { href: "#/", "aria-current": here(["cameras", "camera", "recordings"]), text: t("nav.cameras") }),
    isAdmin() && h("a", { href: "#/operations", "aria-current": here(["operations"]), text: t("nav.operations") }),
  );
}

function languageSwitch() {
  const choose = (/** @type {Event} */ event) =>
    chooseLanguage(/** @type {any} */ (event.target).value);
  return h(
    "select",
    { class: "language", "aria-label": t("language"), on: { change: choose } },
    ...Object.entries(LANGUAGES).map(([tag, name]) =>
      h("option", { value: tag, lang: tag, selected: tag === currentLanguage(), text: name }),
    ),
  );
}

/** @param {import("./session.js").User} user */
function whoIsIt(user) {
  const roles = user.roles.join(", ");
  return h(
    "div",
    { class: "who" },
    h(
      "span",
      { class: "sub", title: t("signedInAs", { sub: user.sub }) },
      h("span", { class: "name", text: user.sub }),
      roles && h("span", { class: "roles", text: roles }),
    ),
    h("button", { type: "button", class: "button quiet", text: t("signOut"), on: { click: () => signOut() } }),
  );
}

function showClockError() {
  const error = clockError();
  clockNotice.hidden = !error;
  setText(clockNotice, error ? t(error > 0 ? "clock.fast" : "clock.slow", { span: duration(Math.abs(error)) }) : "");
}
