/**
 * <pair-code>: shows a code to pair a device by, another before that is too old, and says which device
 * claimed one. The form inside does the first without this script.
 */
const REFRESH_MS = 45_000;
const POLL_MS = 2_000;

class PairCode extends HTMLElement {
  connectedCallback() {
    this.form = /** @type {HTMLFormElement} */ (this.querySelector("form"));
    this.form.hidden = true;
    this.refreshing = setInterval(() => this.refresh(), REFRESH_MS);
    this.polling = setInterval(() => this.poll(), POLL_MS);
    this.refresh();
  }

  disconnectedCallback() {
    clearInterval(this.refreshing);
    clearInterval(this.polling);
  }

  /** @param {string} name */
  part(name) {
    return /** @type {HTMLElement} */ (this.querySelector(`[data-part="${name}"]`));
  }

  async refresh() {
    try {
      const answer = await fetch(this.dataset.url, {
        method: "POST",
        body: new FormData(this.form),
      });
      if (answer.status === 403) return this.stop("This page was open for long. Show another code.");
      if (!answer.ok || answer.redirected) throw new Error(`answered ${answer.status}`);
      const { address, image } = await answer.json();
      this.part("image").src = image;
      this.part("image").hidden = false;
      this.part("words").hidden = false;
      this.querySelector("#pairing-address").textContent = address;
    } catch {
      this.stop("This server cannot be reached right now.");
    }
  }

  async poll() {
    try {
      const answer = await fetch(`${this.dataset.url}?since=${this.dataset.since}`);
      const { name, url } = answer.ok && !answer.redirected ? await answer.json() : {};
      if (name) this.finish(name, url);
    } catch {
      // The next poll asks again.
    }
  }

  /** @param {string} words */
  stop(words) {
    clearInterval(this.refreshing);
    this.part("status").textContent = words;
    this.part("image").hidden = true;
    this.part("words").hidden = true;
    this.form.hidden = false;
  }

  /** @param {string} name @param {string} url */
  finish(name, url) {
    this.disconnectedCallback();
    const link = document.createElement("a");
    link.href = url;
    link.textContent = name;
    this.part("status").replaceChildren(link, " is paired. You are told by mail, too.");
    this.querySelector("[data-until-paired]").remove();
  }
}

customElements.define("pair-code", PairCode);
