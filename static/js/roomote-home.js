/**
 * <roomote-home>: the list of a person's editors, kept as they report. The server renders the rows
 * that it knows; a row that comes later is a copy of the <template>. Rows with a <roomote-question>
 * are answered right there.
 */
import { link } from "bridge-link";
import { askOf, mannerOf, placeOf, stateOf, titleOf, usedOf, watchedBy } from "roomote-instance";
import "roomote-question";
import { ANSWERED, showReceipt } from "roomote-receipt";

const SILENT_MS = 65_000; // a little longer than the server waits for an editor
const RECEIPT_MS = 10_000; // that a receipt stays when its question is gone
const WORDS = { needs: "needs you", running: "running", idle: "ready", offline: "offline" };
const ASKS = {
  __proto__: null,
  command: "Run a command?", tool: "Use a tool?", followup: "A question", use_mcp_server: "Use an MCP server?",
  browser_action_launch: "Open a browser?", api_req_failed: "The provider failed. Try again?",
};

class RoomoteHome extends HTMLElement {
  connectedCallback() {
    this.heard = new Map(); // when each was last heard of
    this.instances = new Map(); // what each said then
    this.pageTitle = document.title;
    this.stop = new AbortController();
    const { signal } = this.stop;
    const bridge = (this.link = link());
    const on = (name, act) => bridge.addEventListener(name, (event) => act(event.detail), { signal });
    on("state", () => this.showState());
    on("watched", () => this.showWatchers());
    this.addEventListener("answer", ({ target, detail }) => this.answer(target, detail), { signal });
    on("instance", (event) => this.hear(event));
    on("lost", ({ instanceId }) => this.lose(instanceId));
    on("present", ({ ids }) => {
      this.keepOnly(ids);
      this.lookAtWaiting();
    });
    on("receipt", ({ type, state }) => (type ?? "start_task") === "start_task" && state !== "confirmed" && this.lookAtWaiting());
    this.addEventListener("click", ({ target }) => {
      const button = target.closest("[data-cancel]");
      if (button) bridge.cancel(button.dataset.cancel);
    }, { signal });
    this.timer = setInterval(() => this.forgetSilent(), 5_000);
    for (const time of this.querySelectorAll("time")) this.showTime(time, new Date(time.dateTime));
    for (const id of bridge.present) this.heard.set(id, Date.now());
    this.showState();
    this.count();
    navigator.serviceWorker
      ?.register(`${this.dataset.path}worker.js`, { scope: this.dataset.path.slice(0, -1) })
      .catch(() => {}); // private windows have none
  }

  disconnectedCallback() {
    this.stop.abort();
    clearInterval(this.timer);
  }

  showState() {
    const state = this.querySelector("[data-part=state]");
    state.dataset.state = this.link.state;
    state.textContent = this.link.words;
    for (const row of this.querySelectorAll(".editors__row")) this.showCard(row);
  }

  showWatchers() {
    for (const row of this.querySelectorAll(".editors__row")) {
      this.put(row, "watched", watchedBy(this.link.watchers.get(row.dataset.instance)));
    }
  }

  /** The starts that wait for an editor, as the server has them. */
  async lookAtWaiting() {
    const answer = await fetch(this.dataset.path.slice(0, -1)).catch(() => null);
    if (!answer?.ok || answer.redirected) return;
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    const fresh = page.querySelector("[data-part=waiting]");
    for (const time of fresh.querySelectorAll("time")) this.showTime(time, new Date(time.dateTime));
    this.querySelector("[data-part=waiting]").replaceWith(fresh);
  }

  // --- Questions --------------------------------------------------------------------------------

  /** @param {HTMLElement} row whose question can be answered here */
  showCard(row) {
    const card = row.querySelector("roomote-question");
    const instance = this.instances.get(row.dataset.instance);
    if (!card || !instance) return;
    const ask = row.dataset.state === "needs" ? askOf(instance) : undefined;
    const canAct = this.link.state === "live" && !row.hasAttribute("data-lost");
    if (ask && ask.ts !== card.ts) row.querySelector("[data-part=receipt]").hidden = true;
    card.show(ask ?? null, canAct);
  }

  /** @param {HTMLElement} card @param {{type: string, payload: object, askTs: number}} said */
  answer(card, { type, payload, askTs }) {
    const row = card.closest(".editors__row");
    const { taskId } = this.instances.get(row.dataset.instance).task;
    const place = row.querySelector("[data-part=receipt]");
    this.link.send("task:command", { type, taskId, askTs, payload }, (receipt) => {
      showReceipt(place, ANSWERED[type], receipt);
      if (receipt.state === "failed" || receipt.state === "unconfirmed") card.lock(false);
      if (receipt.state === "confirmed") setTimeout(() => (place.hidden = true), RECEIPT_MS);
    });
  }

  // --- Rows -------------------------------------------------------------------------------------

  /** @param {string} id @returns {HTMLElement | null} */
  row(id) {
    return this.querySelector(`.editors__row[data-instance="${CSS.escape(id)}"]`);
  }

  /** @param {{type: string, instance: any}} event */
  hear({ type, instance }) {
    const id = instance.instanceId;
    if (type === "instance_unregistered") {
      this.heard.delete(id);
      this.instances.delete(id);
      this.leave(this.row(id));
      return;
    }
    this.heard.set(id, Date.now());
    this.instances.set(id, instance);
    const row = this.row(id) ?? this.add(id);
    this.fill(row, instance);
    this.place(row, stateOf(instance), `${instance.appProperties.hostname ?? ""}\0${instance.workspacePath}\0${id}`);
  }

  /** @param {string} id */
  add(id) {
    const row = this.querySelector("template").content.firstElementChild.cloneNode(true);
    row.dataset.instance = id;
    row.querySelector("a").href = this.dataset.path + encodeURIComponent(id);
    return row;
  }

  /** @param {HTMLElement} row @param {any} instance */
  fill(row, instance) {
    const ask = askOf(instance);
    row.removeAttribute("data-lost");
    this.put(row, "title", titleOf(instance));
    this.put(row, "place", placeOf(instance));
    this.put(row, "manner", mannerOf(instance));
    this.put(row, "used", usedOf(instance));
    this.put(row, "asks", ask?.ask === "command" ? `Run ${ask.text}` : (ASKS[ask?.ask] ?? ""));
    row.querySelector("[data-part=asks]").hidden = !ask || stateOf(instance) !== "needs";
    row.querySelector("[data-part=seen]").hidden = true;
  }

  /** @param {HTMLElement} row @param {string} part @param {string} text */
  put(row, part, text) {
    const place = row.querySelector(`[data-part=${part}]`);
    if (place.textContent !== text) place.textContent = text.slice(0, 300);
  }

  /** Into the section of its state, where it stays as long as that does. */
  place(row, state, order = row.dataset.order ?? "") {
    this.put(row, "word", row.hasAttribute("data-lost") ? "reconnecting …" : WORDS[state]);
    row.dataset.order = order;
    const list = this.querySelector(`[data-section=${state}] ul`);
    if (row.dataset.state !== state || row.parentElement !== list) {
      row.dataset.state = state;
      const next = [...list.children].find((other) => (other.dataset.order ?? "") > order) ?? null;
      list.insertBefore(row, next);
    }
    this.showCard(row);
    this.count();
  }

  /** @param {HTMLElement | null} row */
  leave(row) {
    if (!row || row.dataset.state === "offline") return;
    const time = row.querySelector("time");
    this.showTime(time, new Date());
    row.removeAttribute("data-lost");
    row.querySelector("[data-part=seen]").hidden = false;
    row.querySelector("[data-part=asks]").hidden = true;
    this.put(row, "watched", "");
    this.place(row, "offline");
  }

  /** @param {string} id */
  lose(id) {
    const row = this.row(id);
    if (!row || row.dataset.state === "offline") return;
    row.setAttribute("data-lost", "");
    this.place(row, row.dataset.state);
  }

  /** What went away while the page was not connected. @param {Set<string>} ids */
  keepOnly(ids) {
    for (const row of this.querySelectorAll(".editors__row")) if (!ids.has(row.dataset.instance)) this.leave(row);
  }

  forgetSilent() {
    if (this.link.state !== "live") return;
    for (const [id, at] of this.heard) {
      if (Date.now() - at < SILENT_MS) continue;
      this.heard.delete(id);
      this.leave(this.row(id));
    }
  }

  /** @param {HTMLTimeElement} time @param {Date} at */
  showTime(time, at) {
    if (Number.isNaN(at.getTime())) return;
    const isToday = at.toDateString() === new Date().toDateString();
    const day = isToday ? {} : { day: "numeric", month: "short" };
    time.dateTime = at.toISOString();
    time.textContent = at.toLocaleString([], { ...day, hour: "2-digit", minute: "2-digit" });
  }

  count() {
    let all = 0;
    for (const section of this.querySelectorAll("[data-section]")) {
      const { length } = section.querySelectorAll(".editors__row");
      section.hidden = !length;
      section.querySelector("[data-part=count]").textContent = length;
      all += length;
      if (section.dataset.section === "needs") this.announce(length);
    }
    this.querySelector("[data-part=empty]").hidden = all > 0;
  }

  /** In the browser's tab. @param {number} waiting editors that need somebody */
  announce(waiting) {
    document.title = (waiting ? `(${waiting}) ` : "") + this.pageTitle;
    const icon = document.querySelector("link[rel=icon]");
    this.icon ??= icon.href;
    const wanted = waiting ? this.dataset.waits : this.icon;
    if (icon.href !== new URL(wanted, location.href).href) icon.href = wanted;
  }
}

customElements.define("roomote-home", RoomoteHome);
