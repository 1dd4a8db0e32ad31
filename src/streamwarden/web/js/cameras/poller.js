// One loop asks for every status: a steady trickle while nothing happens, at once where the person is
// waiting, slower while nobody looks, and never one more request while the last ones are unanswered.

/** The pace of the trickle: under one request a second, whatever the number of cameras. */
export const TICK_MS = 1_300;
const HIDDEN_TICK_MS = 10_000;
const FRESH_MS = 3_500;
const HURRY_MS = 60_000;
const MOST_AT_ONCE = 4;
const MOST_FIRST_AT_ONCE = 6;
const SLOWEST_MS = 20_000;

/** @typedef {{askedAt: number, hurryUntil: number, asking: boolean}} Watched */

export class StatusPoller {
  /**
   * @param {{ask: (id: string) => Promise<any>, answered: (id: string, status: any) => void,
   *   failed: (id: string, error: unknown) => boolean}} given `failed` returns whether everything
   *   fails now, so that the pace should slow down
   */
  constructor({ ask, answered, failed }) {
    this.given = { ask, answered, failed };
    /** @type {Map<string, Watched>} */
    this.watched = new Map();
    this.inFlight = 0;
    this.slower = 1;
    this.timer = 0;
    this.running = false;
    this.wake = () => this.schedule(0);
  }

  start() {
    this.running = true;
    document.addEventListener("visibilitychange", this.wake);
    this.schedule(0);
  }

  close() {
    this.running = false;
    clearTimeout(this.timer);
    document.removeEventListener("visibilitychange", this.wake);
  }

  /** @param {string} id a camera that is in view now */
  watch(id) {
    if (this.watched.has(id)) return;
    this.watched.set(id, { askedAt: 0, hurryUntil: 0, asking: false });
    if (this.running) this.schedule(0);
  }

  /** @param {string} id */
  unwatch(id) {
    const one = this.watched.get(id);
    if (one && one.hurryUntil < Date.now()) this.watched.delete(id);
  }

  /** @param {string} id a camera whose button has just been pressed, or whose next try is near */
  hurry(id) {
    this.watch(id);
    const one = this.watched.get(id);
    if (one) one.hurryUntil = Date.now() + HURRY_MS;
    this.schedule(0);
  }

  /** @param {string} id */
  settle(id) {
    const one = this.watched.get(id);
    if (one) one.hurryUntil = 0;
  }

  /** @param {number} afterMs */
  schedule(afterMs) {
    clearTimeout(this.timer);
    if (this.running) this.timer = setTimeout(() => this.tick(), afterMs);
  }

  tick() {
    const now = Date.now();
    const pace = document.hidden ? HIDDEN_TICK_MS : TICK_MS;
    for (const [id, one] of this.chosen(now, document.hidden)) this.ask(id, one);
    this.schedule(Math.min(pace * this.slower, SLOWEST_MS));
  }

  /**
   * The cameras to ask about in this tick: what was never asked comes at once; after that one a tick,
   * and those that are waited for.
   * @param {number} now @param {boolean} hidden whether nobody sees the page
   */
  chosen(now, hidden) {
    const due = this.due(now);
    const first = due.filter(([, one]) => one.askedAt === 0);
    const most = this.slower > 1 ? 1 : first.length ? MOST_FIRST_AT_ONCE : MOST_AT_ONCE;
    const chosen = first.length ? first : this.trickle(due, now, hidden);
    return chosen.slice(0, Math.max(0, most - this.inFlight));
  }

  /** @param {number} now @returns {[string, Watched][]} the longest unasked first */
  due(now) {
    return [...this.watched]
      .filter(([, one]) => !one.asking && now - one.askedAt >= (one.hurryUntil > now ? TICK_MS * 0.7 : FRESH_MS))
      .sort(([, a], [, b]) => a.askedAt - b.askedAt);
  }

  /** @param {[string, Watched][]} due @param {number} now @param {boolean} hidden */
  trickle(due, now, hidden) {
    const hurried = hidden ? [] : due.filter(([, one]) => one.hurryUntil > now);
    return hurried.length ? hurried.slice(0, MOST_AT_ONCE) : due.slice(0, 1);
  }

  /** @param {string} id @param {Watched} one */
  async ask(id, one) {
    const wasFirst = one.askedAt === 0;
    one.askedAt = Date.now();
    one.asking = true;
    this.inFlight += 1;
    try {
      const status = await this.given.ask(id);
      this.slower = 1;
      if (this.running) this.given.answered(id, status);
    } catch (error) {
      if (this.running && this.given.failed(id, error)) this.slower = Math.min(this.slower * 2, 16);
    } finally {
      one.asking = false;
      this.inFlight -= 1;
      if (wasFirst && this.slower === 1 && this.running) this.schedule(0);
    }
  }
}
