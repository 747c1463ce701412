/**
 * <task-live>: keeps the page of a task as a reload would show it. A stream says when there is news;
 * the page then names the blocks that it has and gets those that it lacks. What the stream lost, the
 * version that it repeats every few seconds tells; while it is away, the page asks by itself.
 */
const SILENCE_MS = 4_000; // twice as long as the stream is ever silent
const ASK_MS = 4_000; // between two questions while the stream is away
const PACE_MS = 300; // between two questions
const WHOLE_MS = 3_000; // between two looks at earlier parts and what is beside them
const WAIT_MS = 1_500; // that a break may last without a word
const ANSWER_MS = 10_000;
const NEAR_END = 120;
const SAY_MS = 10_000;

class TaskLive extends HTMLElement {
  connectedCallback() {
    this.reader = /** @type {any} */ (document.querySelector("task-reader"));
    this.version = this.dataset.version ?? "";
    this.count = Number(this.dataset.count); // messages that the reader knows of
    this.unseen = 0;
    this.wholeAt = 0;
    this.tries = 0;
    this.first = Number(this.reader.dataset.page);
    this.stop = new AbortController();
    const { signal } = this.stop;
    this.build();
    document.addEventListener("visibilitychange", () => this.look(), { signal });
    addEventListener("online", () => this.look(), { signal });
    addEventListener("scroll", () => this.isAtEnd() && this.seen(), { signal, passive: true });
    addEventListener("pagehide", () => this.leave(), { signal });
    addEventListener("pageshow", (event) => event.persisted && this.look(), { signal });
    this.look();
  }

  disconnectedCallback() {
    this.stop.abort();
    this.leave();
  }

  build() {
    this.state = document.createElement("p");
    this.state.className = "live";
    this.state.setAttribute("role", "status");
    this.heard = document.createElement("p");
    this.heard.className = "visually-hidden";
    this.heard.setAttribute("role", "status");
    this.button = document.createElement("button");
    this.button.type = "button";
    this.button.className = "button live__new";
    this.button.hidden = true;
    this.button.addEventListener("click", () => this.toEnd());
    this.replaceChildren(this.state, this.heard, this.button);
    this.show("wait", "Connecting …");
    if (location.hash === "#end") this.toEnd();
  }

  /** @param {"live" | "wait" | "gone"} state @param {string} text */
  show(state, text) {
    if (this.state.textContent === text) return;
    this.state.dataset.state = state;
    this.state.textContent = text;
  }

  // --- The stream -----------------------------------------------------------------------------

  /** Follow while somebody looks: a hidden page holds no connection. */
  look() {
    if (document.hidden) this.leave();
    else if (!this.source && !this.isOver) this.connect();
  }

  leave() {
    this.source?.close();
    this.source = null;
    clearTimeout(this.silence);
    clearTimeout(this.again);
    clearTimeout(this.word);
    this.word = undefined;
  }

  connect() {
    const source = (this.source = new EventSource(this.dataset.stream ?? ""));
    source.addEventListener("state", (event) => {
      this.alive();
      if (event.data !== this.version) this.ask();
    });
    source.addEventListener("changed", () => {
      this.alive();
      this.ask();
    });
    source.addEventListener("beat", () => this.alive());
    source.addEventListener("gone", () => this.end());
    source.addEventListener("error", () => this.broken());
    this.silence = setTimeout(() => this.broken(), SILENCE_MS);
  }

  alive() {
    this.tries = 0;
    clearTimeout(this.word);
    this.word = undefined;
    this.show("live", "Live");
    clearTimeout(this.silence);
    this.silence = setTimeout(() => this.broken(), SILENCE_MS);
  }

  /** Ask by itself, and try the stream anew. */
  broken() {
    this.source?.close();
    clearTimeout(this.silence);
    this.word ??= setTimeout(() => this.show("wait", "Reconnecting …"), WAIT_MS);
    const pause = this.tries++ ? ASK_MS : ASK_MS / 10;
    this.again = setTimeout(
      () => {
        this.ask();
        if (!this.isOver) this.connect();
      },
      pause * (0.75 + Math.random() / 4),
    );
  }

  end() {
    this.isOver = true;
    this.leave();
    this.show("gone", "This task cannot be followed any more. Reload the page to see why.");
  }

  // --- News -----------------------------------------------------------------------------------

  /** One question at a time; what happens meanwhile is asked for after it. */
  async ask() {
    this.isWanted = true;
    if (this.isAsking || this.isOver) return;
    this.isAsking = true;
    while (this.isWanted && !this.isOver) {
      this.isWanted = false;
      const isWell = await this.update().catch(() => false);
      await new Promise((done) => setTimeout(done, PACE_MS));
      if (!isWell) break;
    }
    this.isAsking = false;
  }

  /** The last part at once; all others too, but not as often. Whether the server answered. */
  async update() {
    const last = this.lastPart();
    if (Date.now() - this.wholeAt >= WHOLE_MS) return this.updateAll();
    clearTimeout(this.later);
    this.later = setTimeout(() => this.ask(), WHOLE_MS);
    return Boolean(await this.updatePart(last, false));
  }

  async updateAll() {
    clearTimeout(this.later);
    this.wholeAt = Date.now();
    let version = "";
    for (let part = this.first; part <= this.lastPart(); part++) {
      const answer = await this.updatePart(part, part === this.first);
      if (!answer) return false;
      // Of several answers the earliest says what is surely here.
      version ||= answer.dataset.version ?? "";
    }
    this.version = version;
    return true;
  }

  get list() {
    return /** @type {HTMLElement | null} */ (this.reader.querySelector(".talk"));
  }

  /** @param {number} part @returns {HTMLElement[]} */
  itemsOf(part) {
    const items = /** @type {HTMLElement[]} */ ([...(this.list?.children ?? [])]);
    return items.filter((item) => this.partOf(item) === part);
  }

  /** @param {HTMLElement} item */
  partOf(item) {
    return Number(item.dataset.page ?? this.first);
  }

  lastPart() {
    const last = /** @type {HTMLElement | null} */ (this.list?.lastElementChild ?? null);
    return last ? this.partOf(last) : this.first;
  }

  /** @param {number} part @param {boolean} isWhole @returns {Promise<HTMLElement | null>} */
  async updatePart(part, isWhole) {
    const known = this.itemsOf(part).map((item) => item.dataset.version);
    const query = new URLSearchParams({ page: String(part), known: known.join(".") });
    if (isWhole) query.set("whole", "1");
    const answer = await fetch(`${this.dataset.news}?${query}`, { signal: AbortSignal.timeout(ANSWER_MS) });
    if (answer.status === 404 || answer.redirected) this.end();
    if (!answer.ok || answer.redirected) return null;
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    const news = /** @type {HTMLElement | null} */ (page.querySelector("[data-news]"));
    if (!news) return null;
    const isThere = Number(news.dataset.page) === part; // the conversation may have become shorter
    if (!isThere && part === this.first) location.reload();
    const wasAtEnd = this.isAtEnd();
    this.steadily(() => this.take(news, part, isThere));
    if (wasAtEnd) await this.follow();
    return news;
  }

  async follow() {
    if (this.reader.querySelector(".pages a[rel=next]")) await this.reader.more();
    this.list?.lastElementChild?.scrollIntoView({ block: "end", behavior: "instant" });
    if (this.isAtEnd()) this.seen();
  }

  /** Change the page; what is at the upper end of the window stays there. @param {() => void} change */
  steadily(change) {
    const places = document.querySelectorAll(".task__header, .task__summary > *, .talk > li");
    const here = [...places].find((place) => place.getBoundingClientRect().bottom > 0);
    const before = here?.getBoundingClientRect().top ?? 0;
    const { style } = document.documentElement;
    style.overflowAnchor = "none"; // done here, for all browsers alike
    change();
    const now = here?.isConnected ? here : here?.id ? document.getElementById(here.id) : null;
    if (now) scrollBy({ top: now.getBoundingClientRect().top - before, behavior: "instant" });
    requestAnimationFrame(() => (style.overflowAnchor = ""));
  }

  /** @param {HTMLElement} news @param {number} part @param {boolean} isThere */
  take(news, part, isThere) {
    this.swap(document.querySelector(".task__header"), news.querySelector(".task__header"));
    this.swap(this.reader.querySelector(".task__side"), news.querySelector(".task__side"));
    this.swap(this.reader.querySelector(".task__summary"), news.querySelector(".task__summary"));
    this.arrange(part, isThere ? news : null);
    if (part >= this.lastPart()) this.takePages(news.querySelector(".pages"));
    this.tell(Number(news.dataset.count));
    if (this.reader.field?.value) this.reader.search();
  }

  /** @param {Element | null} old @param {Element | null} fresh */
  swap(old, fresh) {
    if (!old || !fresh || old.outerHTML === fresh.outerHTML || old.contains(document.activeElement)) return;
    this.keepOpen(old, fresh);
    old.replaceWith(fresh);
  }

  /** What the reader opened or closed stays so. @param {Element} old @param {Element} fresh */
  keepOpen(old, fresh) {
    const folds = old.querySelectorAll("details");
    fresh.querySelectorAll("details").forEach((fold, n) => {
      if (folds[n]) fold.open = folds[n].open;
    });
  }

  /** Bring the blocks of a part into their order. @param {number} part @param {HTMLElement | null} news */
  arrange(part, news) {
    const order = news?.dataset.order ? news.dataset.order.split(".") : [];
    const fresh = [...(news?.querySelectorAll(".talk > li") ?? [])];
    const list = this.list ?? (order.length ? this.makeList() : null);
    if (!list) return;
    const old = this.itemsOf(part);
    const after = [...list.children].find((item) => this.partOf(/** @type {HTMLElement} */ (item)) > part) ?? null;
    const kept = new Map();
    for (const item of old) kept.set(item.dataset.version, [...(kept.get(item.dataset.version) ?? []), item]);
    const wanted = order.map((version) => kept.get(version)?.shift() ?? fresh.shift()).filter(Boolean);
    for (const item of wanted) {
      if (old.includes(item)) continue;
      item.dataset.page = String(part);
      // Of the same message, here or, when messages moved between parts, there.
      const former = document.getElementById(item.id);
      if (former) this.takeOver(former, item);
    }
    for (const item of old) if (!wanted.includes(item)) item.remove();
    let next = after;
    for (const item of wanted.reverse()) {
      if (item.nextElementSibling !== next || item.parentElement !== list) list.insertBefore(item, next);
      next = item;
    }
    this.reader.addCopyButtons(list);
  }

  /** @param {Element} former @param {HTMLElement} item */
  takeOver(former, item) {
    this.keepOpen(former, item);
    const isFocused = former.contains(document.activeElement);
    const isNow = former === this.reader.now;
    former.replaceWith(item);
    if (isNow) {
      this.reader.now = item;
      item.setAttribute("data-now", "");
    }
    if (isFocused) item.focus({ preventScroll: true });
  }

  makeList() {
    const list = document.createElement("ol");
    list.className = "talk";
    list.setAttribute("aria-label", "Conversation");
    this.reader.querySelector(".task__main > .empty, .task__main > look-again")?.remove();
    this.reader.querySelector(".task__main").append(list);
    this.reader.begin(list);
    return list;
  }

  /** @param {Element | null} fresh */
  takePages(fresh) {
    const old = this.reader.querySelector(".pages");
    if (!fresh) old?.remove();
    if (!fresh || old?.outerHTML === fresh.outerHTML) return;
    const before = old?.querySelector("a[rel=prev]");
    fresh.querySelector("a[rel=prev]")?.remove();
    if (before) fresh.prepend(before);
    if (old) old.replaceWith(fresh);
    else this.list?.after(fresh);
    this.reader.watchEnd();
  }

  // --- What is new ----------------------------------------------------------------------------

  isAtEnd() {
    if (this.reader.querySelector(".pages a[rel=next]")) return false;
    return !this.list || this.list.getBoundingClientRect().bottom <= innerHeight + NEAR_END;
  }

  /** @param {number} count of all messages now */
  tell(count) {
    this.unseen += Math.max(count - this.count, 0);
    this.count = count;
    if (!this.unseen) return;
    const text = `${this.unseen} new message${this.unseen === 1 ? "" : "s"}`;
    this.button.textContent = `${text} ↓`;
    this.button.hidden = false;
    this.saying ??= setTimeout(() => {
      this.saying = undefined;
      this.heard.textContent = text;
    }, this.heard.textContent ? SAY_MS : 0);
  }

  seen() {
    this.unseen = 0;
    this.button.hidden = true;
  }

  toEnd() {
    if (this.reader.querySelector(".pages a[rel=next]")) location.assign(`${location.pathname}?page=1000000#end`);
    else this.follow();
  }
}

customElements.define("task-live", TaskLive);
