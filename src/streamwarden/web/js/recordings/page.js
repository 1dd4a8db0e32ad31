// A day of recordings: the picture, the timeline, the gaps in words, and what can be taken along.

import { cameraHead, pageOf } from "../camera/head.js";
import { causeName } from "../cameras/status.js";
import { duration, serverNow, timeOfDay } from "../clock.js";
import { button, h, setText } from "../dom.js";
import { t } from "../i18n.js";
import { icon } from "../icons.js";
import { explainShortly, isPassing } from "../problems.js";
import { recordingsLink } from "../router.js";
import { Day, SEAM_MS, dayAfter, dayStart } from "./day.js";
import { ExportPanel } from "./export.js";
import { dateStart, dateValue } from "./fields.js";
import { gapTable } from "./gaps.js";
import { Player } from "./player.js";
import { playerBar } from "./bar.js";
import { Timeline } from "./timeline.js";

const EXTEND_EVERY_MS = 10_000;
const RETRY_MS = 5_000;
const NEAR_MIDNIGHT_MS = 60_000;

/** @param {{id?: string, at?: string}} place @returns {Promise<import("../main.js").Page>} */
export async function recordingsPage({ id = "", at }) {
  return pageOf(id, (camera) => new RecordingsPage(camera, at ? Date.parse(at) : NaN).page());
}

class RecordingsPage {
  /** @param {import("../cameras/card.js").Camera} camera @param {number} at the moment that a link names, or NaN */
  constructor(camera, at) {
    this.camera = camera;
    this.day = new Day(camera.id, dayStart(Number.isNaN(at) ? serverNow() : at));
    this.loading = new AbortController();
    /** @type {number|null} where playing came to the end of what is recorded */
    this.endedAt = null;
    this.video = h("video", { playsinline: true, "aria-label": t("rec.video", { name: camera.name }) });
    this.words = h("p", { class: "words", role: "status", text: t("loading") });
    this.over = h("div", { class: "over" }, this.words);
    this.away = h("p", { class: "notice warn", role: "status", hidden: true });
    this.knownAt = serverNow();
    this.retry = 0;
    this.timeline = new Timeline({ day: () => this.day, seek: (moment) => this.player.seek(moment) });
    this.player = new Player(this.video, camera.id, this.listener());
    this.bar = playerBar(this.player, { link: () => recordingsLink(camera.id, new Date(this.player.moment)), camera });
    this.export = new ExportPanel(camera, () => this.player.moment || this.day.start, (range) => this.choose(range));
    this.gaps = gapTable((moment) => this.player.seek(moment));
    this.dayField = h("input", { type: "date", "aria-label": t("rec.day"), on: { change: () => this.pickDay() } });
    this.summary = h("span", { class: "summary", role: "status" });
    this.wake = () => !document.hidden && this.extend();
    this.timer = setInterval(this.wake, EXTEND_EVERY_MS);
    this.keys = (/** @type {KeyboardEvent} */ event) => this.bar.key(event);
    document.addEventListener("keydown", this.keys);
    this.open(at);
  }

  /** @returns {Partial<import("./player.js").Listener> & any} */
  listener() {
    return {
      day: () => this.day,
      changed: () => this.bar.refresh(),
      moved: (/** @type {number} */ moment) => {
        if (!this.video.ended) this.endedAt = null;
        this.over.hidden = true;
        this.timeline.move(moment);
        this.bar.refresh();
      },
      skipped: (/** @type {number} */ from, /** @type {number} */ to) => this.bar.note(this.skipWords(from, to)),
      ended: (/** @type {number} */ moment) => this.atEnd(moment),
      failed: (/** @type {unknown} */ error) => this.say(explainShortly(error)),
    };
  }

  page() {
    const step = (/** @type {number} */ days) => () => this.go(dayAfter(this.day.start, days));
    const quiet = { look: "quiet", iconOnly: true };
    const element = h(
      "section",
      { class: "recordings-page" },
      cameraHead(this.camera, "recordings"),
      this.away,
      h(
        "div",
        { class: "panel" },
        h("div", { class: "screen" }, this.video, this.over),
        this.bar.element,
        h(
          "div",
          { class: "timeline-head" },
          button(t("rec.previous"), step(-1), { ...quiet, icon: icon("left") }),
          this.dayField,
          button(t("rec.next"), step(1), { ...quiet, icon: icon("right") }),
          button(t("rec.today"), () => this.go(dayStart(serverNow())), { look: "quiet" }),
          this.summary,
          h(
            "span",
            { class: "zoom" },
            button(t("rec.zoomOut"), () => this.timeline.zoom(2), { ...quiet, icon: icon("zoomOut") }),
            button(t("rec.zoomIn"), () => this.timeline.zoom(0.5), { ...quiet, icon: icon("zoomIn") }),
          ),
        ),
        this.timeline.element,
        legend(),
      ),
      h("div", { class: "two" }, this.gaps.element, this.export.element),
    );
    return { element, title: t("rec.title", { name: this.camera.name }), close: () => this.close() };
  }

  /** Show the day; play from `at` if a link named it, else stand at the day's last segment. @param {number} at */
  async open(at) {
    clearTimeout(this.retry);
    this.loading.abort();
    const loading = (this.loading = new AbortController());
    this.dayField.value = dateValue(this.day.start);
    this.dayField.max = dateValue(serverNow());
    this.timeline.showDay();
    this.timeline.move(null);
    this.say(t("loading"));
    try {
      await this.day.load(loading.signal, () => this.timeline.redraw());
    } catch (error) {
      if (loading.signal.aborted) return;
      this.say(explainShortly(error));
      if (isPassing(error)) this.retry = setTimeout(() => this.open(at), RETRY_MS);
      return;
    }
    this.heard();
    this.refresh();
    this.begin(at);
  }

  /** @param {number} at */
  begin(at) {
    if (!this.day.segments.length) {
      this.say(t("rec.empty"));
    } else if (Number.isNaN(at)) {
      this.say(t("rec.choose"));
    } else {
      const found = this.day.segmentFrom(at);
      if (found && found.start > at + 1_000) this.bar.note(t("rec.atGap", { time: timeOfDay(new Date(found.start)) }));
      this.player.seek(at, { play: true });
    }
  }

  refresh() {
    const { recorded, missing } = this.day.sums();
    setText(this.summary, this.day.segments.length || missing ? t("rec.summary", { recorded: duration(recorded), missing: duration(missing) }) : "");
    this.gaps.show(this.day.gaps);
    this.timeline.redraw();
    this.bar.refresh();
  }

  async extend() {
    if (!this.day.isToday()) return;
    const day = this.day;
    try {
      await day.extend(this.loading.signal);
      if (day !== this.day) return;
      this.heard();
      this.refresh();
      this.goOn();
    } catch (error) {
      // The next turn asks again; what plays goes on.
      if (day === this.day && !this.loading.signal.aborted) this.tellAway(error);
    }
  }

  /** The API has answered. */
  heard() {
    this.knownAt = serverNow();
    this.away.hidden = true;
  }

  /** @param {unknown} error for which the timeline is as old as the last answer */
  tellAway(error) {
    setText(this.away, t("asOf", { time: timeOfDay(new Date(this.knownAt)), why: explainShortly(error) }));
    this.away.hidden = false;
  }

  /** @param {number} start local midnight @param {number} [at] */
  go(start, at = NaN) {
    if (start > serverNow() || Number.isNaN(start)) return;
    this.player.stop();
    this.endedAt = null;
    this.day = new Day(this.camera.id, start);
    this.bar.note("");
    this.open(at);
  }

  pickDay() {
    this.go(dateStart(this.dayField.value));
  }

  /** The day's recordings are at an end: the next day's follow, up to now. @param {number} moment */
  async atEnd(moment) {
    const next = dayAfter(this.day.start, 1);
    if (next <= serverNow() && moment > this.day.end - NEAR_MIDNIGHT_MS) {
      this.go(next, next);
      return;
    }
    this.endedAt = moment;
    await this.extend();
    if (this.endedAt !== null) this.bar.note(t("rec.end"));
  }

  /** Play on with what has been recorded since the end was reached. */
  goOn() {
    const moment = this.endedAt;
    const found = moment === null ? null : this.day.segments.find((one) => one.start >= moment - SEAM_MS);
    if (moment === null || !found) return;
    this.endedAt = null;
    this.bar.note(found.start - moment > SEAM_MS ? this.skipWords(moment, found.start) : "");
    this.player.load(found.start, true);
  }

  /** @param {number} from @param {number} to */
  skipWords(from, to) {
    const gap = this.day.gaps.find((one) => one.start < to && (one.end ?? to) > from);
    return t("rec.skipped", { span: duration((to - from) / 1000), cause: gap ? causeName(gap.cause) : t("rec.notWanted") });
  }

  /** @param {import("./view.js").View|null} range */
  choose(range) {
    this.timeline.range = range;
    this.timeline.redraw();
  }

  /** @param {string} text */
  say(text) {
    setText(this.words, text);
    this.over.hidden = false;
  }

  close() {
    clearInterval(this.timer);
    clearTimeout(this.retry);
    document.removeEventListener("keydown", this.keys);
    this.loading.abort();
    this.player.close();
    this.timeline.close();
    this.export.close();
  }
}

function legend() {
  const one = (/** @type {string} */ kind, /** @type {string} */ words) => h("span", { class: kind, text: words });
  return h("p", { class: "legend" }, one("is-segment", t("ops.recordedTime")), one("is-gap", t("ops.missingTime")), one("is-off", t("rec.nothing")));
}
