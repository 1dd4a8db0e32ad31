// The cards of all cameras as a list, and which of them are in view.

import { h } from "../dom.js";
import { t } from "../i18n.js";

const FIRST_CARDS = 40;
const FIRST_DRAWN = 8;
const CARDS_A_TURN = 250;
const ID_PREFIX = "camera-";

/** @typedef {import("./card.js").Camera} Camera */
/** @typedef {import("./snapshots.js").Card} Card */
/**
 * @typedef {{make: (camera: Camera) => Card, fits: (camera: Camera) => boolean, changed: () => void,
 *   entered: (id: string) => void, left: (id: string) => void}} Given `fits` is the filter, `changed` is
 *   called after each batch of cards, `entered` and `left` when a card comes into view or goes out of it
 */

/** Cards of all cameras, in the order in which the API lists them. */
export class CardList {
  /** @param {Given} given */
  constructor(given) {
    this.given = given;
    this.element = h("ul", { class: "cards", "aria-label": t("nav.cameras") });
    /** @type {Map<string, Card>} */
    this.cards = new Map();
    /** @type {Set<string>} */
    this.visible = new Set();
    this.view = new IntersectionObserver((entries) => entries.forEach((entry) => this.look(entry)), { rootMargin: "300px" });
    this.closed = false;
  }

  get size() {
    return this.cards.size;
  }

  /** Number of cards that fit the filter. */
  get shown() {
    return [...this.cards.values()].filter((card) => !card.element.hidden).length;
  }

  /** @returns {string[]} */
  ids() {
    return [...this.cards.keys()];
  }

  /** @param {string} id */
  get(id) {
    return this.cards.get(id);
  }

  /** @returns {Card[]} */
  inView() {
    return [...this.visible].flatMap((id) => this.cards.get(id) ?? []);
  }

  /** @param {IntersectionObserverEntry} entry */
  look(entry) {
    const id = entry.target.id.replace(ID_PREFIX, "");
    if (entry.isIntersecting) {
      this.visible.add(id);
      this.cards.get(id)?.draw();
      this.given.entered(id);
    } else {
      this.visible.delete(id);
      this.given.left(id);
    }
  }

  /** New cards: those of the first screen, then the rest in turns that leave the page responsive. @param {Camera[]} cameras */
  async add(cameras) {
    for (let from = 0; from < cameras.length && !this.closed; ) {
      const many = this.size ? CARDS_A_TURN : FIRST_CARDS;
      this.append(cameras.slice(from, from + many));
      from += many;
      this.given.changed();
      if (from < cameras.length) await nextTurn();
    }
  }

  /** @param {Camera[]} cameras */
  append(cameras) {
    const fresh = cameras.map((camera) => this.given.make(camera));
    for (const card of fresh) {
      this.cards.set(card.camera.id, card);
      card.element.hidden = !this.given.fits(card.camera);
      this.view.observe(card.element);
    }
    if (this.size <= FIRST_CARDS) for (const card of fresh.slice(0, FIRST_DRAWN)) card.draw();
    this.element.append(...fresh.map((card) => card.element));
  }

  /** New card for a camera that differs from what its card shows. @param {Camera} camera @returns {boolean} whether it does */
  replace(camera) {
    const before = this.cards.get(camera.id);
    if (!before || JSON.stringify(before.camera) === JSON.stringify(camera)) return false;
    const card = this.given.make(camera);
    card.element.hidden = before.element.hidden;
    if (before.status) card.show(before.status);
    this.view.unobserve(before.element);
    before.element.replaceWith(card.element);
    before.close();
    this.cards.set(camera.id, card);
    this.view.observe(card.element);
    return true;
  }

  /** @param {string} id @returns {boolean} whether there was such a card */
  remove(id) {
    const card = this.cards.get(id);
    if (!card) return false;
    this.view.unobserve(card.element);
    this.visible.delete(id);
    card.close();
    card.element.remove();
    this.cards.delete(id);
    return true;
  }

  /** The server is away: what the cards show is as old as its last answers. */
  outdate() {
    for (const card of this.cards.values()) card.outdate();
  }

  /** Filter applied to every card. */
  filter() {
    for (const card of this.cards.values()) card.element.hidden = !this.given.fits(card.camera);
  }

  close() {
    this.closed = true;
    this.view.disconnect();
    for (const card of this.cards.values()) card.close();
  }
}

const nextTurn = () => new Promise((resume) => setTimeout(resume, 0));
