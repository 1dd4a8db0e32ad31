// The cameras that the API lists, page by page.

import { call } from "../api.js";

/**
 * Every page of the list, until there is no further one or `isClosed` says that nobody waits for it.
 * @param {number} limit cameras on a page
 * @param {() => boolean} isClosed
 * @returns {AsyncGenerator<import("./card.js").Camera[]>}
 */
export async function* cameraPages(limit, isClosed) {
  /** @type {string|null} */
  let cursor = null;
  do {
    const page = await call("GET", "/camera", { query: { limit, cursor } });
    yield page.items;
    cursor = page.next_cursor;
  } while (cursor && !isClosed());
}
