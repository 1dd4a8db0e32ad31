import assert from "node:assert/strict";
import test from "node:test";
import "./browser.mjs";
import { learnServerTime } from "../../src/streamwarden/web/js/clock.js";
import { currentUser, isAdmin, isExpired, refused, signIn, signOut, useRolesClaim } from "../../src/streamwarden/web/js/session.js";

function token(claims) {
  const bytes = new TextEncoder().encode(JSON.stringify(claims));
  const part = btoa(String.fromCharCode(...bytes)).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
  return `e30.${part}.c2ln`;
}

test("a token is taken alone, with Bearer before it, or out of a link", () => {
  const given = token({ sub: "ana" });
  for (const text of [given, ` Bearer ${given}\n`, `https://warden.example/#token=${given}`, `https://warden.example/#x=1&token=${given}&y=2`]) {
    assert.equal(signIn(text), true);
    assert.equal(currentUser()?.token, given);
  }
});

test("a name beyond ASCII is read", () => {
  signIn(token({ sub: "門口 ÿ>?" }));
  assert.equal(currentUser()?.sub, "門口 ÿ>?");
});

test("what is no token signs nobody in", () => {
  signOut();
  const texts = ["", "a.b", "a.b.c", "x", token({ sub: 7 }), token({ sub: "ana" }).replace(".c2ln", ""), `${token({ sub: "ana" })}.d`, token(null)];
  assert.deepEqual(texts.filter((text) => signIn(text)), []);
  assert.equal(currentUser(), null);
});

test("roles are read from the claim that the installation names", () => {
  signIn(token({ sub: "ana", roles: ["user", 7], realm: { access: ["admin"] } }));
  assert.deepEqual(currentUser()?.roles, ["user"]);
  assert.equal(isAdmin(), false);
  useRolesClaim("realm.access");
  assert.equal(isAdmin(), true);
  useRolesClaim("no.such.claim");
  assert.deepEqual(currentUser()?.roles, []);
  useRolesClaim("roles");
});

test("nothing is called expired before a server has told the time", () => {
  signIn(token({ sub: "ana", exp: 1 }));
  assert.equal(currentUser()?.expiresAt?.getTime(), 1_000);
  assert.equal(isExpired(), false);
});

test("a token that the API refuses is called expired only where it is", () => {
  learnServerTime(new Date().toUTCString(), Date.now());
  const details = [];
  addEventListener("sessionchanged", (event) => details.push(event.detail));
  for (const exp of [1, 4_000_000_000]) {
    signIn(token({ sub: "ana", exp }));
    refused();
  }
  assert.deepEqual(details, ["in", "expired", "in", "refused"]);
});
