// Calls through the BFF with the user's token. What goes wrong is a Problem with a stable code.

import { learnServerTime } from "./clock.js";
import { currentUser, refused } from "./session.js";

const TIMEOUT_MS = 20_000;

/** An answer that is none: `code` as the API has it, or "offline" and "timeout" of our own. */
export class Problem extends Error {
  /** @param {{status: number, code: string, detail?: string, retryAfterS?: number, requestId?: string}} of */
  constructor({ status, code, detail = "", retryAfterS = 0, requestId = "" }) {
    super(detail || code);
    this.status = status;
    this.code = code;
    this.detail = detail;
    this.retryAfterS = retryAfterS;
    this.requestId = requestId;
  }
}

/** @param {string} id */
export const cameraPath = (id) => `/camera/${encodeURIComponent(id)}`;

/** The path that the page is under, "/" unless a proxy has it under another one. */
export const pageBase = (href = location.href) => new URL(".", href.split("#")[0]).pathname;

/** The path of a call through the BFF. @param {string} path below /bff/v1 */
export const bffPath = (path) => `${pageBase()}bff/v1${path}`;

/**
 * An address in an answer of the API, as this page reaches it: through the BFF, never past it.
 * @param {string} address relative to what was asked, such as the hls_url of a preview
 * @param {string} asked the path that was asked, below /bff/v1
 */
export function throughBff(address, asked) {
  const { pathname, search } = new URL(address, `${location.origin}${bffPath(asked)}`);
  return pathname.replace(/^\/api\/v1\//, bffPath("/")) + search;
}

/**
 * @param {string} method
 * @param {string} path below /bff/v1
 * @param {{body?: object, query?: Record<string, any>, signal?: AbortSignal}} [options]
 * @returns {Promise<any>} the answer's JSON, null where there is none
 */
export async function call(method, path, options = {}) {
  const response = await send(method, path, options);
  if (response.status === 204) return null;
  try {
    return await response.json();
  } catch {
    throw new Problem({ status: response.status, code: "not_json" });
  }
}

/**
 * @param {string} path
 * @param {{query?: Record<string, any>, signal?: AbortSignal}} [options]
 * @returns {Promise<Blob>}
 */
export async function fetchBlob(path, options = {}) {
  const response = await send("GET", path, options);
  return response.blob();
}

/** @param {string} method @param {string} path @param {any} options @returns {Promise<Response>} */
async function send(method, path, { body, query, signal }) {
  const user = currentUser();
  const headers = { Accept: "application/json", "X-Request-Id": requestId() };
  if (user) headers.Authorization = `Bearer ${user.token}`;
  if (body !== undefined) headers["Content-Type"] = "application/json";
  const limit = AbortSignal.timeout(TIMEOUT_MS);
  const sentAt = Date.now();
  let response;
  try {
    response = await fetch(`${bffPath(path)}${queryText(query)}`, {
      method,
      headers,
      body: body === undefined ? undefined : JSON.stringify(body),
      signal: signal ? AbortSignal.any([signal, limit]) : limit,
      cache: "no-store",
      credentials: "omit",
      redirect: "error",
    });
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new Problem({ status: 0, code: limit.aborted ? "timeout" : "offline" });
  }
  learnServerTime(response.headers.get("Date"), sentAt);
  if (response.ok) return response;
  const problem = await problemOf(response);
  // Only of the one who asked: another may have signed in meanwhile.
  if (response.status === 401 && currentUser()?.token === user?.token) refused();
  throw problem;
}

/** @param {Response} response */
async function problemOf(response) {
  const found = await response.json().catch(() => ({}));
  return new Problem({
    status: response.status,
    code: typeof found.code === "string" ? found.code : `http_${response.status}`,
    detail: typeof found.detail === "string" ? found.detail : "",
    retryAfterS: Number(response.headers.get("Retry-After")) || 0,
    requestId: response.headers.get("X-Request-Id") ?? "",
  });
}

/** @param {Record<string, any>|undefined} query */
function queryText(query) {
  const entries = Object.entries(query ?? {}).filter(([, value]) => value != null);
  return entries.length ? `?${new URLSearchParams(entries.map(([k, v]) => [k, String(v)]))}` : "";
}

function requestId() {
  return Array.from(crypto.getRandomValues(new Uint8Array(8)), (b) => b.toString(16).padStart(2, "0")).join("");
}
