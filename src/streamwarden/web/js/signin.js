// The page for who is not signed in: paste a token or a sign-in link.

import { h } from "./dom.js";
import { t } from "./i18n.js";
import { signIn } from "./session.js";

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

/** @param {string} why */
function reason(why) {
  if (why !== "expired" && why !== "refused") return null;
  return h("p", { class: "notice warn", role: "alert", text: t(`signIn.${why}`) });
}
