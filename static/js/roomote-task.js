/**
 * <roomote-task>: one's own editor from afar: what RoomoteView shows, and what is sent to it, with
 * its receipt.
 */
import { stateOf, titleOf, watchedBy } from "roomote-instance";
import { isWaiting } from "roomote-question";
import { ANSWERED, showReceipt } from "roomote-receipt";
import { RoomoteView } from "roomote-view";

class RoomoteTask extends RoomoteView {
  connectedCallback() {
    this.composer = this.querySelector("roomote-composer");
    super.connectedCallback();
  }

  listen() {
    super.listen();
    this.on("instance", (event) => event.instance.instanceId === this.instanceId && this.hear(event));
    this.on("task", (event) => event.taskId === this.taskId && this.hearTask(event));
    this.on("lost", ({ instanceId }) => instanceId === this.instanceId && this.lose());
    this.on("watched", () => this.show());
    this.on("present", ({ ids }) => {
      this.isOpen = ids.has(this.instanceId);
      this.beginAnew();
    });
    this.card.addEventListener("answer", (event) => this.answer(event.detail));
    this.composer.addEventListener("compose", (event) => this.compose(event.detail));
    this.composer.addEventListener("stop", () => this.end());
    this.addEventListener("click", (event) => this.onClick(event));
  }

  follow(former, taskId) {
    this.link.leave(former);
    this.link.join(taskId);
    this.isNew = false;
  }

  turnRest(page) {
    this.piece("earlier").replaceWith(page.querySelector("[data-part=earlier]"));
  }

  answer({ type, payload, askTs }) {
    const body = { type, taskId: this.taskId, askTs, payload };
    this.send("task:command", body, ANSWERED[type], (receipt) => {
      if (receipt.state === "confirmed" && this.question?.ts === askTs) this.ask(null);
      if (receipt.state === "failed" || receipt.state === "unconfirmed") this.card.lock(false);
    });
  }

  // --- What is sent -------------------------------------------------------------------------------

  compose({ text, images, mode, providerProfile }) {
    const payload = { text, ...(images.length ? { images } : {}), mode, providerProfile };
    if (this.startsNew) {
      this.start(payload);
      return;
    }
    const body = { type: "message", taskId: this.taskId, payload };
    if (this.question) body.askTs = this.question.ts;
    this.say("task:command", body, "Message");
  }

  async start(payload) {
    const isBusy = this.isOpen && this.taskId && stateOf(this.instance) !== "idle";
    const running = isBusy ? titleOf(this.instance) : "";
    const warning = `This replaces the task that runs in this editor: “${running}”. It can be resumed later.`;
    if (running && !(await this.confirm("Start a new task?", warning, "Start"))) return;
    this.isNew = false;
    const body = { type: "start_task", instanceId: this.instanceId, payload, mayWait: !this.isOpen };
    this.say("extension:command", body, "New task");
  }

  async end() {
    const body = { type: "stop_task", instanceId: this.instanceId, payload: { taskId: this.taskId } };
    const warning = "The agent stops where it is. The task can be resumed later.";
    if (await this.confirm("Stop this task?", warning, "Stop")) this.send("extension:command", body, "Stopped");
  }

  async resume(taskId, title) {
    const isBusy = this.taskId && stateOf(this.instance) !== "idle";
    const warning = isBusy ? "This replaces the task that runs in this editor." : "It is opened in the editor, and waits for you there.";
    if (!(await this.confirm(`Resume “${title}”?`, warning, "Resume"))) return;
    this.querySelector(".head__menu").open = false;
    this.send("extension:command", { type: "resume_task", instanceId: this.instanceId, payload: { taskId } }, "Resumed");
  }

  /** Words of the composer, which come back to it where they could not be sent. */
  say(event, body, what) {
    const { text, images = [] } = body.payload;
    this.composer.clear();
    this.send(event, body, what, (receipt) => {
      if (receipt.state === "failed") this.composer.restore({ text, images });
    });
  }

  send(event, body, what, hear = () => {}) {
    this.newest = body;
    this.link.send(event, body, (receipt) => {
      hear(receipt);
      if (this.newest === body) showReceipt(this.piece("receipt"), what, receipt);
      this.show();
    });
  }

  /** @param {string} title @param {string} text @param {string} act @returns {Promise<boolean>} */
  confirm(title, text, act) {
    const dialog = this.querySelector("dialog");
    dialog.querySelector("h2").textContent = title;
    dialog.querySelector("p").textContent = text;
    dialog.querySelector("[value=yes]").textContent = act;
    dialog.returnValue = "";
    dialog.showModal();
    return new Promise((done) =>
      dialog.addEventListener("close", () => done(dialog.returnValue === "yes"), { once: true }),
    );
  }

  onClick(event) {
    const button = event.target.closest("button[data-act]");
    if (!button) return;
    if (button.dataset.act === "new") {
      this.isNew = !this.isNew;
      this.composer.text.focus();
      this.show();
    }
    if (button.dataset.act === "stop") this.end();
    if (button.dataset.act === "resume") this.resume(button.value, button.dataset.title);
  }

  // --- The page -----------------------------------------------------------------------------------

  /** A start can wait for an editor that is not there; nothing else can. */
  get canQueue() {
    return this.link.state === "live" && !this.isOpen;
  }

  get startsNew() {
    return this.isNew || !this.taskId || !this.isOpen;
  }

  show() {
    super.show();
    const { instance } = this;
    this.put("watched", this.isOpen ? watchedBy(this.link.watchers.get(this.instanceId)) : "");
    const isRunning = Boolean(this.taskId) && this.isOpen && stateOf(instance) === "running" && !this.question;
    this.composer.offer(instance);
    this.composer.allow({
      canSend: this.canAct || this.canQueue,
      canStop: isRunning && !this.startsNew,
      send: this.canQueue ? "Queue" : this.startsNew ? "Start" : "Send",
      hint: this.hint(isRunning),
    });
    const fresh = this.querySelector("[data-act=new]");
    fresh.hidden = !this.taskId || !this.isOpen;
    fresh.setAttribute("aria-pressed", String(Boolean(this.isNew)));
    for (const button of this.querySelectorAll(".head__menu button")) button.disabled = !this.canAct;
    this.querySelector(".head__menu [data-act=stop]").hidden = !this.taskId;
    this.showQueued(instance.task.queuedMessages ?? []);
    const isWaited = this.isOpen && this.question && isWaiting(this.question.ask);
    this.toggleAttribute("data-waits", Boolean(isWaited));
  }

  hint(isRunning) {
    if (this.link.state !== "live") return "Not connected";
    if (!this.isOpen) return "A task for its return";
    if (this.isLost) return "Reconnecting …";
    if (this.startsNew) return "What is to be done?";
    if (this.question?.ask === "followup") return "Or your own answer";
    if (this.question) return "Or what to do instead";
    return isRunning ? "A message, to be queued" : "A message";
  }

  showQueued(messages) {
    const place = this.piece("queued");
    place.hidden = !messages.length;
    if (!messages.length) return;
    const text = `${messages.length} message${messages.length === 1 ? "" : "s"} wait in the editor: `;
    this.put("queued", text + messages.map((one) => one.text.slice(0, 80)).join(" · "));
  }
}

customElements.define("roomote-task", RoomoteTask);
