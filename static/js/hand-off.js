/**
 * <hand-off>: opens the editor once, keeps the link fresh while the page is open, and says when the
 * editor has come for its ticket. The form inside works without this script.
 */
const REFRESH_MS = 45_000;
const POLL_MS = 2_000;
const HINT_MS = 20_000;

class HandOff extends HTMLElement {
  connectedCallback() {
    this.started = Date.now();
    this.link = /** @type {HTMLAnchorElement} */ (this.querySelector("[data-open]"));
    this.form = /** @type {HTMLFormElement} */ (this.querySelector("form"));
    this.status = /** @type {HTMLElement} */ (this.querySelector("[data-status]"));
    this.hint = /** @type {HTMLElement} */ (this.querySelector("[data-hint]"));
    this.openUntil = this.started + Number(this.dataset.openS) * 1000;
    this.form.hidden = true;
    // Leaving for another scheme ends what the page still loads, so it waits for that.
    addEventListener("load", () => setTimeout(() => this.link.click(), 100), { once: true });
    this.refreshing = setInterval(() => this.refresh(), REFRESH_MS);
    this.polling = setInterval(() => this.poll(), POLL_MS);
  }

  disconnectedCallback() {
    clearInterval(this.refreshing);
    clearInterval(this.polling);
  }

  async refresh() {
    if (Date.now() > this.openUntil) {
      this.disconnectedCallback();
      this.form.hidden = false;
      return;
    }
    const answer = await fetch(this.dataset.fresh, { method: "POST", body: new FormData(this.form) });
    if (!answer.ok) return;
    const { url } = await answer.json();
    this.link.href = url;
    document.getElementById("callback-url").textContent = url;
  }

  async poll() {
    const answer = await fetch(this.dataset.statusUrl, { headers: { Accept: "application/json" } });
    if (!answer.ok) return;
    const { signed_in: signedIn, label } = await answer.json();
    if (signedIn) {
      this.disconnectedCallback();
      this.dataset.state = "done";
      this.status.textContent = `Signed in on ${label}. You can close this page.`;
      this.hint.hidden = true;
    } else if (Date.now() - this.started > HINT_MS) {
      this.hint.hidden = false;
    }
  }
}

customElements.define("hand-off", HandOff);
