// The page for who is not signed in: paste a token or a sign-in link.

import { button, h } from "./dom.js";
import { t } from "./i18n.js";
import { answerOffer, currentUser, signIn } from "./session.js";

const SHOWN_CHARS = 100;

/**
 * @param {string} why "expired", "refused", or what needs no words
 * @returns {import("./main.js").Page}
 */
export function signInPage(why) {
  const field = h("textarea", {
    id: "token", rows: 4, spellcheck: "false", autocomplete: "off", autocapitalize: "off",
    required: true, "aria-describedby": "token-help token-problem",
  });
  const problem = h("p", { id: "token-problem", class: "field-problem", role: "alert" });
  const submit = (/** @type {Event} */ event) => {
    event.preventDefault();
    if (signIn(field.value)) return;
    problem.textContent = t("signIn.noToken");
    field.setAttribute("aria-invalid", "true");
    field.focus();
  };
  const element = h(
    "section",
    { class: "sign-in" },
    h("h1", { text: t("signIn.title") }),
    reason(why),
    h(
      "form",
      { on: { submit } },
      h("label", { for: "token", text: t("signIn.label") }),
      field,
      problem,
      h("p", { id: "token-help", class: "help", text: t("signIn.help") }),
      h("button", { type: "submit", class: "button primary", text: t("signIn.button") }),
    ),
  );
  return { element, close() {}, title: t("signIn.title") };
}

/**
 * The question before a link signs somebody else in.
 * @param {import("./session.js").User} offered
 * @returns {import("./main.js").Page}
 */
export function switchPage(offered) {
  const names = { now: (currentUser()?.sub ?? "").slice(0, SHOWN_CHARS), other: offered.sub.slice(0, SHOWN_CHARS) };
  const element = h(
    "section",
    { class: "sign-in", "aria-labelledby": "switch-title" },
    h("h1", { id: "switch-title", text: t("signIn.switch.title") }),
    h("p", { text: t("signIn.switch.text", names) }),
    h("p", { class: "notice warn", text: t("signIn.switch.warning") }),
    h(
      "div",
      { class: "row" },
      button(t("signIn.switch.stay", names), () => answerOffer(false), { look: "primary" }),
      button(t("signIn.switch.other", names), () => answerOffer(true)),
    ),
  );
  return { element, close() {}, title: t("signIn.switch.title") };
}

/** @param {string} why */
function reason(why) {
  if (why === "noToken") return h("p", { class: "notice warn", role: "alert", text: t("signIn.noLink") });
  if (why !== "expired" && why !== "refused") return null;
  return h("p", { class: "notice warn", role: "alert", text: t(`signIn.${why}`) });
}
