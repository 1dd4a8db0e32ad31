// Who is signed in. The token lives in this tab only (sessionStorage) and goes to our own origin only.

import { isTimeKnown, serverNow } from "./clock.js";
import { decoded } from "./router.js";

const KEY = "streamwarden.token";

/** @typedef {{token: string, sub: string, roles: string[], expiresAt: Date|null}} User */

let rolesClaim = "roles";
/** @type {User|null} */
let user = null;
/** @type {User|null} whom a link would sign in, while somebody else is signed in */
let offer = null;
let timer = 0;

/** @param {string} claim the claim, or dotted path, that lists a user's roles */
export function useRolesClaim(claim) {
  rolesClaim = claim;
  if (user) user = read(user.token);
  if (offer) offer = read(offer.token);
}

/** @returns {User|null} */
export function currentUser() {
  return user;
}

/** Whether the page may show what only administrators can use. The API decides all the same. */
export function isAdmin() {
  return user?.roles.includes("admin") ?? false;
}

/**
 * Take what the tab kept, and the token out of the address (`#token=...`) before anything else sees it.
 *
 * A link may be anybody's: where somebody is signed in, its token waits for an answer, or what is done
 * from then on would be done in the account of who sent the link.
 */
export function restore() {
  addEventListener("servertimelearned", watchExpiry);
  const kept = sessionStorage.getItem(KEY);
  if (!user && kept) user = read(kept);
  const given = /^#token=([^&]*)/.exec(location.hash);
  if (given) {
    history.replaceState(null, "", location.pathname + location.search + "#/");
    follow(decoded(given[1]));
  } else {
    watchExpiry();
  }
}

/** @param {string} token */
function follow(token) {
  const found = read(token);
  if (found && (!user || isExpired())) {
    signIn(token);
    return;
  }
  offer = found && found.token !== user?.token ? found : null;
  watchExpiry();
  const why = offer ? "offered" : found ? "in" : "noToken";
  dispatchEvent(new CustomEvent("sessionchanged", { detail: why }));
}

/** @returns {User|null} whom a link would sign in, if somebody else is to make way */
export function offeredUser() {
  return user ? offer : null;
}

/** @param {boolean} accept whether the link's user is signed in instead */
export function answerOffer(accept) {
  const offered = offer;
  offer = null;
  if (accept && offered) signIn(offered.token);
  else dispatchEvent(new CustomEvent("sessionchanged", { detail: "in" }));
}

/**
 * @param {string} text a token, or a whole sign-in link
 * @returns {boolean} whether it is a token at all; whether it is a good one, the API knows
 */
export function signIn(text) {
  const token = /[#&]token=([^&\s]+)/.exec(text)?.[1] ?? text.trim().replace(/^Bearer\s+/i, "");
  const found = read(token);
  if (!found) return false;
  user = found;
  offer = null;
  sessionStorage.setItem(KEY, token);
  watchExpiry();
  dispatchEvent(new CustomEvent("sessionchanged", { detail: "in" }));
  return true;
}

/** @param {"out"|"expired"|"refused"} why */
export function signOut(why = "out") {
  if (!user) return;
  user = null;
  clearTimeout(timer);
  sessionStorage.removeItem(KEY);
  dispatchEvent(new CustomEvent("sessionchanged", { detail: why }));
}

/** The API has said 401. */
export function refused() {
  signOut(isExpired() ? "expired" : "refused");
}

/** @returns {boolean} */
export function isExpired() {
  return isTimeKnown() && user?.expiresAt != null && user.expiresAt.getTime() <= serverNow();
}

function watchExpiry() {
  clearTimeout(timer);
  if (!user?.expiresAt || !isTimeKnown()) return;
  const left = user.expiresAt.getTime() - serverNow();
  // A timer can wait 24.8 days at most, and the clock may be set meanwhile: look again each minute.
  timer = setTimeout(() => (isExpired() ? signOut("expired") : watchExpiry()), Math.min(Math.max(left, 0), 60_000));
}

/** @param {string} token @returns {User|null} */
function read(token) {
  try {
    const part = token.split(".")[1].replace(/-/g, "+").replace(/_/g, "/");
    const bytes = Uint8Array.from(atob(part), (c) => c.charCodeAt(0));
    const claims = JSON.parse(new TextDecoder().decode(bytes));
    if (token.split(".").length !== 3 || typeof claims.sub !== "string") return null;
    const roles = rolesClaim.split(".").reduce((value, name) => value?.[name], claims);
    return {
      token,
      sub: claims.sub,
      roles: Array.isArray(roles) ? roles.filter((role) => typeof role === "string") : [],
      expiresAt: typeof claims.exp === "number" ? new Date(claims.exp * 1000) : null,
    };
  } catch {
    return null;
  }
}
