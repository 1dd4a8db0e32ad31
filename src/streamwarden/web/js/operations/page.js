// The operators' page: what is recorded and what is missing, what stands behind it, and how it goes.

import { call } from "../api.js";
import { cameraPages } from "../cameras/listing.js";
import { duration, serverNow, timeOfDay } from "../clock.js";
import { h, setText } from "../dom.js";
import { t } from "../i18n.js";
import { explainShortly } from "../problems.js";
import { isAdmin } from "../session.js";
import { toast } from "../toast.js";
import { causeTable, diskPanel, figures, panel, spanTable, stateTiles, waitingDeletions } from "./panels.js";
import { Plots } from "./plots.js";
import { rowsOf, treeTable } from "./tree.js";

const EVERY_S = 5;
const HIDDEN_EVERY_S = 30;
const LEARN_EVERY_MS = 10_000;
const NAMES_A_PAGE = 1_000;
const PLOTTED = [
  { key: "recording", words: "ops.plot.states" },
  { key: "missing", words: "ops.plot.missing" },
  { key: "free", words: "ops.plot.free" },
  { key: "lag", words: "ops.plot.lag" },
];

/** @returns {import("../main.js").Page} */
export function operationsPage() {
  const title = t("nav.operations");
  if (!isAdmin()) return { element: h("p", { class: "empty", text: t("ops.notAdmin") }), close() {}, title };
  const page = new OperationsPage();
  return { element: page.element, close: () => page.close(), title };
}

class OperationsPage {
  constructor() {
    this.panels = {
      cameras: panel(t("ops.cameras")),
      recorded: panel(t("ops.recorded")),
      causes: panel(t("ops.causes"), "third"),
      respawns: panel(t("ops.respawnCauses"), "third"),
      disk: panel(t("ops.disk"), "third"),
      plots: panel(t("ops.plots"), "wide"),
      tree: panel(t("ops.tree"), "wide"),
    };
    this.plots = new Plots(PLOTTED);
    this.panels.plots.body.append(h("p", { class: "help", text: t("ops.plots.help", { seconds: EVERY_S }) }), this.plots.element);
    this.notice = h("p", { class: "notice warn", role: "status", hidden: true });
    this.element = h(
      "section",
      {},
      h("div", { class: "page-head" }, h("h1", { text: t("nav.operations") })),
      this.notice,
      h("div", { class: "ops" }, ...Object.values(this.panels).map((each) => each.element)),
    );
    /** @type {Map<string, string>} */
    this.names = new Map();
    this.drawn = new Map();
    this.learntAt = 0;
    this.lastAt = "";
    this.closed = false;
    this.timer = 0;
    this.wake = () => !document.hidden && this.soon(0);
    document.addEventListener("visibilitychange", this.wake);
    this.learnNames();
    this.ask();
  }

  /** Recorders are known by their camera's id; people know its name. */
  async learnNames() {
    this.learntAt = Date.now();
    try {
      for await (const page of cameraPages(NAMES_A_PAGE, () => this.closed)) {
        for (const camera of page) this.names.set(camera.id, camera.name);
      }
    } catch {
      // The ids are shown instead.
    }
  }

  /** One round at a time; the next is planned when this one is over. */
  async ask() {
    try {
      const [summary, tree] = await Promise.allSettled([call("GET", "/ops/summary"), call("GET", "/ops/supervision")]);
      if (this.closed) return;
      if (summary.status === "rejected") throw summary.reason;
      this.notice.hidden = true;
      this.show(summary.value);
      if (tree.status === "fulfilled") this.showTree(tree.value.root);
      else this.tell(tree.reason);
    } catch (error) {
      if (!this.closed) this.tell(error);
    } finally {
      this.soon((document.hidden ? HIDDEN_EVERY_S : EVERY_S) * 1000);
    }
  }

  /** @param {number} afterMs */
  soon(afterMs) {
    clearTimeout(this.timer);
    if (!this.closed) this.timer = setTimeout(() => this.ask(), afterMs);
  }

  /** @param {unknown} error */
  tell(error) {
    const why = explainShortly(error);
    setText(this.notice, this.lastAt ? t("ops.away", { time: this.lastAt, why }) : why);
    this.notice.hidden = false;
  }

  /** @param {any} summary */
  show(summary) {
    this.lastAt = timeOfDay(new Date(summary.at));
    const { cameras, hour, day, disk, index } = summary;
    if (!summary.streaming.reachable) {
      setText(this.notice, explainAway());
      this.notice.hidden = false;
    }
    this.write("cameras", cameras, () => [
      cameras.by_state ? stateTiles(cameras.by_state) : away(),
      figures([[t("ops.total"), cameras.total], [t("ops.active"), cameras.active]]),
    ]);
    this.write("recorded", [hour, day, index], () => [
      spanTable([{ name: t("ops.hour"), ...hour }, { name: t("ops.day"), ...day }]),
      figures([[t("ops.journal"), index?.journal_segments ?? null], [t("ops.lag"), index ? `${index.lag_seconds.toFixed(1)} ${t("unit.s")}` : null]]),
    ]);
    const missing = day.causes.filter((/** @type {any} */ each) => each.seconds > 0);
    this.write("causes", missing, () => [causeTable(missing.map((/** @type {any} */ each) => [each.cause, each.seconds, duration(each.seconds)]), t("ops.noMissing"))]);
    const respawns = summary.respawn_causes;
    this.write("respawns", respawns, () => [
      respawns ? causeTable(respawns.map((/** @type {any} */ each) => [each.cause, each.count, String(each.count)]), t("ops.noRespawns")) : away(),
      h("p", { class: "help", text: t("ops.respawns.help") }),
    ]);
    const waits = summary.retention_waits ?? [];
    this.write("disk", [disk, waits], () => [disk ? diskPanel(disk) : away(), ...waitingDeletions(waits)]);
    this.plots.add(serverNow(), {
      recording: cameras.by_state ? (cameras.by_state.running ?? 0) : null,
      missing: hour.missing_seconds,
      free: disk ? disk.free_bytes / 1e9 : null,
      lag: index ? index.lag_seconds : null,
    });
  }

  /** Draw a panel anew only when its figures have changed. */
  write(/** @type {string} */ name, /** @type {any} */ figures, /** @type {() => Node[]} */ content) {
    const key = JSON.stringify(figures);
    if (this.drawn.get(name) === key) return;
    this.drawn.set(name, key);
    this.panels[/** @type {keyof typeof this.panels} */ (name)].body.replaceChildren(...content());
  }

  /** @param {any} root */
  showTree(root) {
    const rows = rowsOf(root, this.names);
    const nameless = rows.some((row) => row.restartable && row.name === row.id);
    if (nameless && Date.now() - this.learntAt > LEARN_EVERY_MS) this.learnNames();
    this.write("tree", rows, () => [h("div", { class: "scroll tall", tabindex: "0", role: "region", "aria-label": t("ops.tree") }, treeTable(rows, (row) => this.restart(row)))]);
  }

  /** @param {import("./tree.js").Row} row */
  async restart(row) {
    try {
      await call("POST", `/ops/supervision/${encodeURIComponent(row.id)}/restart`, { body: {} });
      toast(t("ops.restarted", { name: row.name }));
      this.soon(500);
    } catch (error) {
      toast(explainShortly(error), "bad");
    }
  }

  close() {
    this.closed = true;
    clearTimeout(this.timer);
    document.removeEventListener("visibilitychange", this.wake);
    this.plots.close();
  }
}

const explainAway = () => t("problem.streaming_unavailable");
const away = () => h("p", { class: "help", text: explainAway() });
