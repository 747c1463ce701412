/**
 * <roomote-composer>: what is written to a task, with images, mode and profile. What is not sent yet
 * survives a reload. Fires "compose" with {text, images, mode, providerProfile} and "stop".
 */
const MAX_SIDE = 1_568; // pixels; models see no more
const MAX_IMAGES = 8;
const MAX_ROWS_PX = 150;

class RoomoteComposer extends HTMLElement {
  connectedCallback() {
    this.form = this.querySelector("form");
    this.text = this.querySelector("textarea");
    this.files = this.querySelector("input[type=file]");
    this.thumbs = this.querySelector("[data-part=images]");
    this.modes = this.querySelector("[data-part=mode]");
    this.profiles = this.querySelector("[data-part=profile]");
    this.main = this.querySelector("[data-part=main]");
    this.images = [];
    this.forgetOthers();
    this.text.value = this.draft.text ?? "";
    this.text.addEventListener("input", () => {
      this.changed();
      this.keep();
    });
    this.text.addEventListener("keydown", (event) => this.onKey(event));
    this.text.addEventListener("paste", (event) => this.take(event.clipboardData?.files, event));
    this.addEventListener("dragover", (event) => event.preventDefault());
    this.addEventListener("drop", (event) => this.take(event.dataTransfer?.files, event));
    this.files.addEventListener("change", () => this.take(this.files.files));
    this.form.addEventListener("submit", (event) => this.submit(event));
    this.changed();
  }

  /** @param {SubmitEvent} event */
  submit(event) {
    event.preventDefault();
    if (this.main.disabled) return;
    if (this.isEmpty && this.canStop) {
      this.dispatchEvent(new CustomEvent("stop"));
      return;
    }
    if (this.isEmpty) {
      this.text.focus();
      return;
    }
    const detail = { text: this.text.value.trim(), images: this.images };
    if (this.modes.value !== this.modes.dataset.now) detail.mode = this.modes.value;
    if (this.profiles.value !== this.profiles.dataset.now) detail.providerProfile = this.profiles.value;
    this.dispatchEvent(new CustomEvent("compose", { detail }));
  }

  /** Enter writes a line on a phone, and sends where there are keys. @param {KeyboardEvent} event */
  onKey(event) {
    if (event.key !== "Enter" || event.shiftKey || event.isComposing || matchMedia("(pointer: coarse)").matches) return;
    event.preventDefault();
    this.form.requestSubmit();
  }

  get isEmpty() {
    return !this.text.value.trim() && !this.images.length;
  }

  /** What was written has gone out. */
  clear() {
    this.text.value = "";
    this.images = [];
    this.thumbs.replaceChildren();
    this.changed();
    this.keep();
  }

  /** What was written could not be sent: it is here again. @param {{text: string, images: string[]}} said */
  restore({ text, images }) {
    if (!this.isEmpty) return;
    this.text.value = text;
    for (const image of images) this.addImage(image);
    this.changed();
    this.keep();
  }

  // --- What may be done ---------------------------------------------------------------------------

  /** @param {{canSend: boolean, canStop: boolean, send: string, hint: string}} now */
  allow(now) {
    Object.assign(this, now);
    this.text.placeholder = now.hint;
    this.changed();
  }

  changed() {
    this.text.style.height = "auto";
    this.text.style.height = `${Math.min(this.text.scrollHeight + 2, MAX_ROWS_PX)}px`;
    const isStop = this.isEmpty && this.canStop;
    this.main.textContent = isStop ? "Stop" : (this.send ?? "Send");
    this.main.classList.toggle("button--danger", Boolean(isStop));
    this.main.disabled = !this.canSend;
  }

  /** @param {any} instance what it says of modes and profiles */
  offer(instance) {
    const modes = (instance.modes ?? []).map(({ slug, name }) => [slug, name]);
    const profiles = (instance.providerProfiles ?? []).map(({ name }) => [name, name]);
    this.fill(this.modes, modes, instance.mode ?? "");
    this.fill(this.profiles, profiles, instance.providerProfile ?? "");
  }

  /** @param {HTMLSelectElement} select @param {string[][]} choices @param {string} now */
  fill(select, choices, now) {
    const known = JSON.stringify([choices, now]);
    if (select.dataset.known === known) return;
    const wanted = select.dataset.now !== undefined && select.value !== select.dataset.now ? select.value : now;
    if (now && !choices.some(([value]) => value === now)) choices.unshift([now, now]);
    select.replaceChildren(...choices.map(([value, name]) => new Option(name, value)));
    select.value = choices.some(([value]) => value === wanted) ? wanted : now;
    select.dataset.now = now;
    select.dataset.known = known;
    select.closest("label").hidden = choices.length < 2;
  }

  // --- Drafts -------------------------------------------------------------------------------------

  get mine() {
    return `roomote:draft:${this.dataset.person}:`;
  }

  get place() {
    return this.mine + this.dataset.instance;
  }

  /** What somebody began who was signed in here before, and did not sign out. */
  forgetOthers() {
    const kept = Object.keys(localStorage).filter((key) => key.startsWith("roomote:draft:"));
    for (const key of kept) if (!key.startsWith(this.mine)) localStorage.removeItem(key);
  }

  get draft() {
    try {
      return JSON.parse(localStorage.getItem(this.place) ?? "{}");
    } catch {
      return {};
    }
  }

  keep() {
    const text = this.text.value;
    if (text) localStorage.setItem(this.place, JSON.stringify({ text }));
    else localStorage.removeItem(this.place);
  }

  // --- Images -------------------------------------------------------------------------------------

  /** @param {FileList | null | undefined} files @param {Event} [event] that brought them */
  async take(files, event) {
    const pictures = [...(files ?? [])].filter((file) => file.type.startsWith("image/"));
    if (!pictures.length) return;
    event?.preventDefault();
    for (const picture of pictures) {
      if (this.images.length >= MAX_IMAGES) break;
      const image = await this.resized(picture).catch(() => null);
      if (image) this.addImage(image);
    }
    this.files.value = "";
    this.changed();
  }

  /** As a data URL that is no larger than a model sees. @param {File} file */
  async resized(file) {
    const bitmap = await createImageBitmap(file, { imageOrientation: "from-image" });
    const scale = Math.min(1, MAX_SIDE / Math.max(bitmap.width, bitmap.height));
    const canvas = document.createElement("canvas");
    canvas.width = Math.round(bitmap.width * scale);
    canvas.height = Math.round(bitmap.height * scale);
    canvas.getContext("2d")?.drawImage(bitmap, 0, 0, canvas.width, canvas.height);
    bitmap.close();
    return file.type === "image/png" && scale === 1 ? canvas.toDataURL("image/png") : canvas.toDataURL("image/jpeg", 0.85);
  }

  /** @param {string} image */
  addImage(image) {
    this.images.push(image);
    const button = document.createElement("button");
    button.type = "button";
    button.className = "composer__thumb";
    button.setAttribute("aria-label", "Remove this image");
    const shown = document.createElement("img");
    shown.src = image;
    shown.alt = "";
    button.append(shown);
    button.addEventListener("click", () => {
      this.images = this.images.filter((one) => one !== image);
      button.remove();
      this.changed();
    });
    this.thumbs.append(button);
  }
}

customElements.define("roomote-composer", RoomoteComposer);
