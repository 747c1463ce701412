/**
 * <live-part id="…" data-every="seconds">: a part of a page that changes. It asks for the page again
 * and takes over its own part of it, until that comes without data-every.
 */
class LivePart extends HTMLElement {
  connectedCallback() {
    this.wait();
  }

  disconnectedCallback() {
    clearTimeout(this.timer);
  }

  wait() {
    const seconds = Number(this.dataset.every);
    if (seconds) this.timer = setTimeout(() => this.refresh(), seconds * 1000);
  }

  async refresh() {
    try {
      const answer = await fetch(window.location.href, { credentials: "same-origin" });
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      const part = answer.ok && page.getElementById(this.id);
      if (part && !this.contains(document.activeElement)) {
        this.replaceChildren(...part.childNodes);
        if (!part.dataset.every) delete this.dataset.every;
      }
    } catch {
      // The server is away for a moment.
    }
    this.wait();
  }
}

customElements.define("live-part", LivePart);
