// Plots of what has been measured since the page was opened (uPlot, loaded with this page alone).

import { h } from "../dom.js";
import { t } from "../i18n.js";

const MOST_POINTS = 720;
const LEAST_SPAN_S = 120;
const UNMEASURED_S = 60;
const HEIGHT = 150;
const LABEL_WIDTH = 80;

/** @returns {Promise<any>} uPlot */
function library() {
  const found = /** @type {any} */ (window).uPlot;
  if (found) return Promise.resolve(found);
  const at = (/** @type {string} */ name) => new URL(`../../vendor/${name}`, import.meta.url).href;
  document.head.append(h("link", { rel: "stylesheet", href: at("uPlot.min.css") }));
  return new Promise((loaded, failed) => {
    const script = h("script", {
      src: at("uPlot.iife.min.js"),
      on: { load: () => loaded(/** @type {any} */ (window).uPlot), error: () => failed(new Error("uPlot")) },
    });
    document.head.append(script);
  });
}

/** What has been measured in this tab: it outlives the page, so that coming back shows it again. */
const measured = { times: /** @type {number[]} */ ([]), values: /** @type {Map<string, (number|null)[]>} */ (new Map()) };

export class Plots {
  /** @param {{key: string, words: string}[]} series */
  constructor(series) {
    this.series = series;
    this.times = measured.times;
    this.values = measured.values;
    for (const { key } of series) if (!this.values.has(key)) this.values.set(key, []);
    /** @type {Map<string, any>} */
    this.drawn = new Map();
    this.places = new Map(series.map(({ key, words }) => [key, h("figure", { class: "plot" }, h("h3", { text: t(words) }))]));
    this.element = h("div", { class: "plots" }, ...this.places.values());
    this.sized = new ResizeObserver(() => this.fit());
    this.sized.observe(this.element);
    this.scheme = matchMedia("(prefers-color-scheme: dark)");
    this.redo = () => this.rebuild();
    this.scheme.addEventListener("change", this.redo);
    this.closed = false;
  }

  /** @param {number} atMs @param {Record<string, number|null>} figures */
  async add(atMs, figures) {
    const at = atMs / 1000;
    const last = this.times.at(-1);
    // The first minutes fill the plot from the right: of one point alone uPlot makes a scale of years.
    if (last === undefined) this.push(at - LEAST_SPAN_S, {});
    // While the page was closed nothing was measured: the line is not to run on over that.
    else if (at - last > UNMEASURED_S) this.push(last + 1, {});
    this.push(at, figures);
    if (this.times.length > MOST_POINTS) {
      this.times.shift();
      for (const values of this.values.values()) values.shift();
    }
    const uPlot = await library();
    if (!this.closed) this.draw(uPlot);
  }

  /** @param {number} at in seconds @param {Record<string, number|null>} figures */
  push(at, figures) {
    this.times.push(at);
    for (const { key } of this.series) this.values.get(key)?.push(figures[key] ?? null);
  }

  /** @param {any} uPlot */
  draw(uPlot) {
    for (const { key, words } of this.series) {
      const values = this.values.get(key) ?? [];
      const place = this.places.get(key);
      place.hidden = values.every((value) => value === null);
      if (place.hidden) continue;
      const data = [this.times, values];
      const drawn = this.drawn.get(key);
      if (drawn) drawn.setData(data);
      else this.drawn.set(key, new uPlot(options(words, place), data, place));
    }
  }

  rebuild() {
    for (const plot of this.drawn.values()) plot.destroy();
    this.drawn.clear();
    const uPlot = /** @type {any} */ (window).uPlot;
    if (uPlot) this.draw(uPlot);
  }

  fit() {
    for (const [key, plot] of this.drawn) plot.setSize({ width: this.places.get(key).clientWidth, height: HEIGHT });
  }

  close() {
    this.closed = true;
    this.sized.disconnect();
    this.scheme.removeEventListener("change", this.redo);
    for (const plot of this.drawn.values()) plot.destroy();
  }
}

/** @param {string} words @param {HTMLElement} place */
function options(words, place) {
  const style = getComputedStyle(place);
  const of = (/** @type {string} */ name) => style.getPropertyValue(name).trim();
  const axis = { stroke: of("--ink-soft"), grid: { stroke: of("--line"), width: 1 }, ticks: { stroke: of("--line"), width: 1 } };
  return {
    width: place.clientWidth,
    height: HEIGHT,
    legend: { show: false },
    cursor: { y: false },
    scales: { y: { range: (/** @type {any} */ _u, /** @type {number} */ _low, /** @type {number} */ high) => [0, high > 0 ? high * 1.15 : 1] } },
    series: [{}, { label: t(words), stroke: of("--accent"), width: 2, fill: `${of("--accent")}22`, points: { show: (/** @type {any} */ plot) => plot.data[0].length < 4 } }],
    axes: [{ ...axis, space: LABEL_WIDTH, values: clockLabels }, { ...axis, size: 56 }],
  };
}

/** @param {any} _plot @param {number[]} splits in seconds */
function clockLabels(_plot, splits) {
  return splits.map((at) => new Date(at * 1000).toLocaleTimeString(document.documentElement.lang, { hourCycle: "h23" }));
}
