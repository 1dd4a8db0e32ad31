import assert from "node:assert/strict";
import test from "node:test";
import "./browser.mjs";
import { Problem } from "../../src/streamwarden/web/js/api.js";
import { has, preferredLanguage, t } from "../../src/streamwarden/web/js/i18n.js";
import { explain, explainShortly, isPassing } from "../../src/streamwarden/web/js/problems.js";

test("the language that was chosen is kept, if there are words for it", () => {
  assert.equal(preferredLanguage("zh-TW", ["en"]), "zh-TW");
  assert.equal(preferredLanguage("toString", ["zh-HK"]), "zh-TW");
});

test("else it is the first of the browser's that there are words for, else English", () => {
  assert.equal(preferredLanguage(null, ["fr", "zh-CN", "en"]), "zh-TW");
  assert.equal(preferredLanguage(null, ["fr", "en-GB", "zh"]), "en");
  assert.equal(preferredLanguage(null, ["fr", "enm", "zh"]), "zh-TW");
  assert.equal(preferredLanguage(null, ["fr"]), "en");
});

test("values go into words; what has no value or no words shows itself", () => {
  assert.equal(t("cameras.filtered", { shown: 0, all: 7 }), "0 of 7");
  assert.equal(t("cameras.filtered", { shown: 3 }), "3 of {all}");
  assert.equal(t("no.such"), "no.such");
  assert.equal(has("no.such"), false);
});

test("a problem has the words of its code, else of its status, else of any", () => {
  const titleOf = (status, code) => explain(new Problem({ status, code })).title;
  assert.equal(titleOf(503, "no_space"), t("problem.no_space"));
  assert.equal(titleOf(503, "new_code"), "The server cannot do this just now.");
  assert.equal(titleOf(418, "new_code"), "The server answered with an error (418).");
});

test("advice has the seconds that the API named, or what it said", () => {
  assert.equal(explain(new Problem({ status: 503, code: "x", retryAfterS: 7 })).advice, "Try again in 7 s.");
  assert.equal(explain(new Problem({ status: 503, code: "x" })).advice, "Try again in 5 s.");
  assert.equal(explain(new Problem({ status: 418, code: "x", detail: "a teapot" })).advice, "a teapot");
});

test("what is no problem of the API's is a bug", () => {
  assert.equal(explainShortly(new TypeError("x is y")), `${t("problem.bug")} TypeError: x is y`);
});

test("trying again makes sense where nothing answered, or not now", () => {
  const passing = [0, 400, 401, 404, 429, 500, 503].filter((status) => isPassing(new Problem({ status, code: "x" })));
  assert.deepEqual(passing, [0, 429, 500, 503]);
  assert.equal(isPassing(new TypeError("x")), false);
});
