/**
 * <push-switch data-key data-subscribe data-renew data-worker data-scope>: whether this browser takes
 * notifications, and the button that asks for it. One that was turned on says at each visit that it
 * is still there, for its sign-in may be a new one; one that was turned off elsewhere gives up. On
 * other pages it stands without words and button, and only does that.
 */
class PushSwitch extends HTMLElement {
  connectedCallback() {
    this.words = this.querySelector("[data-part=words]");
    this.button = this.querySelector("[data-part=on]");
    this.button?.addEventListener("click", () => this.turnOn());
    if (!("serviceWorker" in navigator) || !("PushManager" in window)) {
      this.say("This browser takes no notifications from web pages. Mail still works.");
      return;
    }
    this.look();
  }

  async look() {
    if (Notification.permission === "denied") {
      this.say("Notifications of this site are blocked in this browser's settings. Allow them there first.");
      return;
    }
    const worker = await navigator.serviceWorker.getRegistration(this.dataset.scope);
    const known = await worker?.pushManager.getSubscription();
    if (known && Notification.permission === "granted") {
      const answer = await this.post(this.dataset.renew, { endpoint: known.endpoint });
      if (answer?.status !== 404) {
        this.say("Notifications are on in this browser.");
        return;
      }
      await known.unsubscribe();
    }
    this.say("Notifications are off in this browser.");
    if (this.button) this.button.hidden = false;
  }

  async turnOn() {
    this.button.disabled = true;
    try {
      if ((await Notification.requestPermission()) !== "granted") {
        this.say("This browser was not allowed to show notifications.");
        return;
      }
      const { worker, scope, key } = this.dataset;
      await navigator.serviceWorker.register(worker, { scope });
      const registration = await this.active(scope);
      const subscription = await registration.pushManager.subscribe({
        userVisibleOnly: true,
        applicationServerKey: bytesOf(key),
      });
      const { endpoint, keys } = subscription.toJSON();
      const time_zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
      const answer = await this.post(this.dataset.subscribe, { endpoint, ...keys, time_zone });
      if (answer?.ok) location.reload();
      else this.say("The server did not take it. Load the page again, and try once more.");
    } catch (fault) {
      this.say(`This browser could not subscribe to notifications (${fault.name}).`);
    } finally {
      this.button.disabled = false;
    }
  }

  /** The worker, once it runs. It does not serve this page, so ``ready`` would wait for ever. */
  async active(scope) {
    const registration = await navigator.serviceWorker.getRegistration(scope);
    const worker = registration.installing ?? registration.waiting;
    if (worker && !registration.active) {
      await new Promise((done) => worker.addEventListener("statechange", () => registration.active && done()));
    }
    return registration;
  }

  /** @param {string} url @param {Record<string, string>} fields @returns {Promise<Response | null>} */
  async post(url, fields) {
    const body = new FormData();
    for (const [name, value] of Object.entries(fields)) body.set(name, value);
    body.set("csrfmiddlewaretoken", this.querySelector("[name=csrfmiddlewaretoken]").value);
    return fetch(url, { method: "POST", body }).catch(() => null);
  }

  /** @param {string} words */
  say(words) {
    if (this.words) this.words.textContent = words;
  }
}

/** @param {string} text base64url */
function bytesOf(text) {
  const plain = atob(text.replaceAll("-", "+").replaceAll("_", "/"));
  return Uint8Array.from(plain, (character) => character.charCodeAt(0));
}

customElements.define("push-switch", PushSwitch);
