/**
 * <roomote-files>: what the task changed, beside its conversation where there is room. A file opens the
 * diff of all of them in the place of the conversation, which comes back as it was left.
 */
const PAUSE_MS = 3_000; // between two looks for what else changed
const WIDE = matchMedia("(min-width: 84rem)"); // from which on roomote.css shows it

class RoomoteFiles extends HTMLElement {
  connectedCallback() {
    this.view = this.parentElement.querySelector("roomote-task, roomote-watch");
    this.place = this.view.querySelector("[data-part=changes]");
    this.addEventListener("click", (event) => this.onClick(event));
    this.place.addEventListener("click", ({ target }) => target.closest("[data-act=back]") && this.close());
    this.observer = new MutationObserver(() => (this.timer ??= setTimeout(() => this.refresh(), PAUSE_MS)));
    this.observer.observe(this.view.querySelector("[data-part=talk]"), { childList: true, subtree: true });
  }

  disconnectedCallback() {
    this.observer.disconnect();
    clearTimeout(this.timer);
  }

  /** @param {string} address */
  async page(address) {
    const answer = await fetch(address).catch(() => null);
    if (!answer?.ok || answer.redirected) return null;
    return new DOMParser().parseFromString(await answer.text(), "text/html");
  }

  async refresh() {
    if (WIDE.matches) {
      const fresh = (await this.page(location.pathname))?.querySelector("roomote-files");
      if (fresh && fresh.innerHTML !== this.innerHTML) this.replaceChildren(...fresh.childNodes);
    }
    this.timer = undefined;
  }

  /** @param {MouseEvent} event */
  onClick(event) {
    const file = event.target.closest("a[data-path]");
    if (!file || event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    this.open(file);
  }

  /** @param {HTMLAnchorElement} file */
  async open(file) {
    const page = await this.page(file.href);
    const changes = [...(page?.querySelectorAll(".change") ?? [])];
    if (!changes.length) {
      location.assign(file.href);
      return;
    }
    if (!this.view.hasAttribute("data-changes")) this.left = scrollY;
    const back = document.createElement("button");
    back.type = "button";
    back.className = "button button--quiet";
    back.dataset.act = "back";
    back.textContent = "← Back to the conversation";
    this.place.replaceChildren(back, ...changes);
    this.place.hidden = false;
    this.view.setAttribute("data-changes", "");
    back.focus({ preventScroll: true });
    const wanted = changes.find((change) => change.dataset.path === file.dataset.path) ?? changes[0];
    wanted.scrollIntoView({ behavior: "instant" });
  }

  close() {
    this.view.removeAttribute("data-changes");
    this.place.hidden = true;
    this.place.replaceChildren();
    scrollTo({ top: this.left, behavior: "instant" });
  }
}

customElements.define("roomote-files", RoomoteFiles);
