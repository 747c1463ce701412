/**
 * <task-reader>: what a reader of a long conversation has besides scrolling: keys, a search that
 * marks its places, the next messages before the end is reached, and buttons to copy.
 * Without this script everything is there to be read: folds are <details>, the rest are links.
 */
const KEYS = [
  ["j", "next block"],
  ["k", "previous block"],
  ["n", "next message of the user"],
  ["p", "previous message of the user"],
  ["o", "open or close the block"],
  ["e", "open or close all blocks"],
  ["/", "search"],
  ["?", "this help"],
];
const MAX_MATCHES = 2_000;

class TaskReader extends HTMLElement {
  connectedCallback() {
    this.list = /** @type {HTMLElement | null} */ (this.querySelector(".talk"));
    this.field = /** @type {HTMLInputElement | null} */ (this.querySelector("#find")); // none on /roomote
    this.count = /** @type {HTMLOutputElement} */ (this.querySelector("[data-count]"));
    this.matches = [];
    this.current = -1;
    this.stop = new AbortController();
    const { signal } = this.stop;
    document.addEventListener("keydown", (event) => this.onKey(event), { signal });
    addEventListener("hashchange", () => this.reveal(), { signal });
    this.addEventListener("click", (event) => this.onClick(event), { signal });
    if (this.list) this.begin(this.list);
    this.reveal();
  }

  /** There are messages. @param {HTMLElement} list */
  begin(list) {
    const { signal } = this.stop;
    this.list = list;
    this.field?.addEventListener("input", () => this.search(), { signal });
    this.field?.form?.addEventListener("submit", (event) => this.onSubmit(event), { signal });
    this.addCopyButtons(this);
    this.watchEnd();
  }

  disconnectedCallback() {
    this.stop.abort();
    this.observer?.disconnect();
    CSS.highlights?.delete("found");
    CSS.highlights?.delete("found-now");
  }

  // --- Keys -----------------------------------------------------------------------------------

  /** @param {KeyboardEvent} event */
  onKey(event) {
    const target = /** @type {HTMLElement} */ (event.target);
    if (event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
    if (target.closest("input, textarea, select, [contenteditable]")) {
      if (event.key === "Escape") target.blur();
      return;
    }
    const act = {
      j: () => this.step(1, "*"),
      k: () => this.step(-1, "*"),
      n: () => this.step(1, '[data-form="prompt"]'),
      p: () => this.step(-1, '[data-form="prompt"]'),
      o: () => this.toggle(),
      e: () => this.toggleAll(),
      "/": () => this.field?.focus(),
      "?": () => this.help(),
    }[event.key];
    if (!act) return;
    event.preventDefault();
    act();
  }

  /** @param {number} by @param {string} selector */
  step(by, selector) {
    const items = [...(this.list?.children ?? [])].filter((item) => item.matches(selector));
    const line = 120; // below what sticks to the top
    const here = this.now?.isConnected ? this.now : null;
    const top = (item) => item.getBoundingClientRect().top;
    const isAhead = (item) =>
      here ? here.compareDocumentPosition(item) & (by > 0 ? 4 : 2) : by > 0 ? top(item) >= line - 1 : top(item) < line;
    const ahead = items.filter((item) => item !== here && isAhead(item));
    this.focusOn(by > 0 ? ahead[0] : ahead.at(-1));
  }

  /** @param {Element | undefined} item */
  focusOn(item) {
    if (!item) return;
    this.now?.removeAttribute("data-now");
    this.now = /** @type {HTMLElement} */ (item);
    this.now.setAttribute("data-now", "");
    this.now.focus({ preventScroll: true });
    this.now.scrollIntoView({ block: "start" });
  }

  toggle() {
    const fold = this.now?.querySelector("details");
    if (fold) fold.open = !fold.open;
  }

  toggleAll() {
    const folds = [...(this.list?.querySelectorAll("details") ?? [])];
    const open = folds.some((fold) => !fold.open);
    for (const fold of folds) fold.open = open;
  }

  help() {
    const dialog = document.createElement("dialog");
    dialog.className = "help";
    dialog.setAttribute("aria-label", "Keys");
    const keys = document.createElement("dl");
    for (const [key, what] of KEYS) {
      const term = document.createElement("dt");
      const name = document.createElement("kbd");
      name.textContent = key;
      term.append(name);
      const meaning = document.createElement("dd");
      meaning.textContent = what;
      keys.append(term, meaning);
    }
    const close = document.createElement("button");
    close.className = "button button--quiet";
    close.textContent = "Close";
    close.addEventListener("click", () => dialog.close());
    dialog.append(keys, close);
    dialog.addEventListener("close", () => dialog.remove());
    this.append(dialog);
    dialog.showModal();
  }

  // --- Links ----------------------------------------------------------------------------------

  /** Open and show the message that the address names. */
  reveal() {
    const item = document.getElementById(decodeURIComponent(location.hash.slice(1)));
    if (!item || !this.list?.contains(item)) return;
    const fold = item.querySelector("details");
    if (fold) fold.open = true;
    this.focusOn(item);
  }

  /** A link to a message of another part that is here already need not load that part.
   * @param {MouseEvent} event */
  onClick(event) {
    const link = /** @type {HTMLElement} */ (event.target).closest("a");
    if (!link || event.ctrlKey || event.metaKey || event.shiftKey || !link.hash) return;
    if (link.pathname !== location.pathname || !document.getElementById(link.hash.slice(1))) return;
    event.preventDefault();
    const url = link.classList.contains("talk__time") ? link.href : link.hash;
    history.pushState(null, "", url);
    this.reveal();
  }

  // --- Search ---------------------------------------------------------------------------------

  search() {
    const wanted = this.field.value.trim().toLowerCase();
    this.matches = wanted.length > 1 ? this.places(wanted) : [];
    this.current = -1;
    CSS.highlights?.set("found", new Highlight(...this.matches));
    CSS.highlights?.delete("found-now");
    this.say(wanted.length > 1);
  }

  /** @param {boolean} isAsked */
  say(isAsked) {
    const total = this.matches.length;
    const where = this.current < 0 ? `${total}` : `${this.current + 1} of ${total}`;
    this.count.hidden = !isAsked;
    this.count.textContent = total ? where : "none here";
  }

  /** @param {string} wanted */
  places(wanted) {
    const found = [];
    const texts = document.createTreeWalker(this.list, NodeFilter.SHOW_TEXT);
    for (let text = texts.nextNode(); text && found.length < MAX_MATCHES; text = texts.nextNode()) {
      if (text.parentElement?.closest("[aria-hidden], copy-button")) continue;
      const content = text.textContent.toLowerCase();
      for (let at = content.indexOf(wanted); at >= 0; at = content.indexOf(wanted, at + wanted.length)) {
        const range = new Range();
        range.setStart(text, at);
        range.setEnd(text, Math.min(at + wanted.length, text.length));
        found.push(range);
      }
    }
    return found;
  }

  /** Enter goes from place to place; where there is none, the server searches all parts.
   * @param {SubmitEvent} event */
  onSubmit(event) {
    const hasButton = event.submitter && event.submitter !== this.field;
    if (!this.matches.length || (hasButton && this.field !== document.activeElement)) return;
    event.preventDefault();
    this.current = (this.current + 1) % this.matches.length;
    const range = this.matches[this.current];
    for (let fold = range.startContainer.parentElement?.closest("details"); fold; ) {
      fold.open = true;
      fold = fold.parentElement?.closest("details");
    }
    CSS.highlights?.set("found-now", new Highlight(range));
    range.startContainer.parentElement?.scrollIntoView({ block: "center" });
    this.say(true);
  }

  // --- More -----------------------------------------------------------------------------------

  /** Bring the next part before its link comes into view. */
  watchEnd() {
    this.observer?.disconnect();
    const link = this.querySelector(".pages a[rel=next]");
    if (!link || !this.list) return;
    this.observer = new IntersectionObserver(
      (entries) => entries.some((entry) => entry.isIntersecting) && this.more(),
      { rootMargin: "1200px" },
    );
    this.observer.observe(link);
  }

  async more() {
    this.observer?.disconnect();
    const nav = this.querySelector(".pages");
    const link = /** @type {HTMLAnchorElement | null} */ (nav?.querySelector("a[rel=next]"));
    if (!nav || !link) return;
    const answer = await fetch(link.href).catch(() => null);
    if (!answer?.ok) return; // the link is still there
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    const items = /** @type {NodeListOf<HTMLElement>} */ (page.querySelectorAll(".talk > li"));
    const next = page.querySelector(".pages");
    const part = new URL(link.href).searchParams.get("page") ?? "";
    for (const item of items) {
      if (document.getElementById(item.id)) continue;
      item.dataset.page = part;
      this.list?.append(item);
    }
    this.addCopyButtons(this.list);
    if (next) {
      const first = nav.querySelector("a[rel=prev]");
      next.querySelector("a[rel=prev]")?.remove();
      if (first) next.prepend(first);
      nav.replaceWith(next);
    }
    if (this.field?.value) this.search();
    this.watchEnd();
  }

  // --- Copying --------------------------------------------------------------------------------

  /** @param {Element | null} within */
  addCopyButtons(within) {
    for (const text of within?.querySelectorAll(".talk pre:not([data-copy]), .talk .diff:not([data-copy])") ?? []) {
      text.setAttribute("data-copy", "");
      const button = document.createElement("button");
      button.type = "button";
      button.className = "copy";
      button.textContent = "Copy";
      button.addEventListener("click", async () => {
        await navigator.clipboard.writeText(this.textOf(text));
        button.textContent = "Copied";
        setTimeout(() => (button.textContent = "Copy"), 2000);
      });
      text.before(button);
    }
  }

  /** Of a diff, what the lines are now. @param {Element} text */
  textOf(text) {
    const lines = text.querySelectorAll(".diff__new");
    return lines.length ? [...lines].map((line) => line.textContent).join("") : text.textContent;
  }
}

customElements.define("task-reader", TaskReader);
