/**
 * <hand-off>: opens the editor once, keeps the link fresh while the page is open, and says when the
 * editor has come for its ticket; then nothing on the page can be used a second time, which would
 * end the session. The form inside works without this script.
 */
const REFRESH_MS = 45_000;
const POLL_MS = 2_000;
const HINT_MS = 20_000;
const OPENING_MS = 1_500;

class HandOff extends HTMLElement {
  connectedCallback() {
    this.started = Date.now();
    this.link = /** @type {HTMLAnchorElement} */ (this.querySelector("[data-open]"));
    this.address = /** @type {HTMLElement} */ (this.querySelector("#callback-url"));
    this.form = /** @type {HTMLFormElement} */ (this.querySelector("form"));
    this.status = /** @type {HTMLElement} */ (this.querySelector("[data-status]"));
    this.hint = /** @type {HTMLElement} */ (this.querySelector("[data-hint]"));
    this.openUntil = this.started + Number(this.dataset.openS) * 1000;
    this.form.hidden = true;
    this.link.ariaDisabled = "true";
    this.link.addEventListener("click", (event) => {
      event.preventDefault();
      this.openAgain();
    });
    // Leaving for another scheme ends what the page still loads, so it waits for that.
    addEventListener("load", () => setTimeout(() => this.open(), 100), { once: true });
    this.refreshing = setInterval(() => this.refreshInTime(), REFRESH_MS);
    this.polling = setInterval(() => this.poll(), POLL_MS);
  }

  disconnectedCallback() {
    clearInterval(this.refreshing);
    clearInterval(this.polling);
  }

  /** Until a moment later a click does nothing: a second ticket would arrive beside the first. */
  open() {
    this.link.ariaDisabled = "true";
    window.location.href = this.link.href;
    setTimeout(() => (this.link.ariaDisabled = null), OPENING_MS);
  }

  async openAgain() {
    if (this.link.ariaDisabled) return;
    this.link.ariaDisabled = "true";
    if (await this.refresh()) this.open();
    else this.link.ariaDisabled = null;
  }

  refreshInTime() {
    if (Date.now() < this.openUntil) return this.refresh();
    this.disconnectedCallback();
    this.form.hidden = false;
  }

  /** Puts a fresh ticket into the page; false if there is none to be had. */
  async refresh() {
    try {
      const { url, signed_in: signedIn, label } = await this.ask(this.dataset.fresh, {
        method: "POST",
        body: new FormData(this.form),
      });
      if (signedIn) this.finish(label);
      if (signedIn || this.dataset.state === "done") return false;
      this.link.href = url;
      this.address.textContent = url;
      return true;
    } catch {
      this.form.hidden = false;
      return false;
    }
  }

  async poll() {
    try {
      const { signed_in: signedIn, label } = await this.ask(this.dataset.statusUrl);
      if (signedIn) this.finish(label);
    } catch {
      // The next poll asks again.
    }
    this.hint.hidden = Date.now() - this.started < HINT_MS;
  }

  /** @param {string} url @param {RequestInit} [options] */
  async ask(url, options) {
    const answer = await fetch(url, { headers: { Accept: "application/json" }, ...options });
    if (!answer.ok || answer.redirected) throw new Error(`${url} answered ${answer.status}`);
    return answer.json();
  }

  /** @param {string} label */
  finish(label) {
    this.disconnectedCallback();
    this.dataset.state = "done";
    this.status.textContent = `Signed in on ${label}. You can close this page.`;
    this.querySelectorAll("[data-until-done]").forEach((part) => part.remove());
  }
}

customElements.define("hand-off", HandOff);
