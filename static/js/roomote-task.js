/**
 * <roomote-task>: an editor from afar. What is recorded of its task <task-live> keeps in order; here
 * are the words that are being written, the question that waits, and what is sent, with its receipt.
 */
import { link } from "bridge-link";
import { askOf, mannerOf, placeOf, stateOf, titleOf, usedOf } from "roomote-instance";
import { isWaiting } from "roomote-question";

/** What is shown while it is written, by kind: who says it. */
const SAID = {
  __proto__: null,
  text: "", reasoning: "Thinking", completion_result: "Result", command_output: "Output", user_feedback: "You",
  error: "Error", mcp_server_response: "Answer of the MCP server",
};
const ASKED = { __proto__: null, tool: "Is about to use a tool", command: "Is about to run", followup: "Is about to ask" };
const MENTIONED_MS = 3_000; // within which an editor mentions a question that it raised
const UNTOUCHED_MS = 15_000; // after which nothing more is being written
const RECORDED_MS = 2_000; // after which the block of a whole message is the whole one too
const MOST_SAID = 100;
const NEAR_END = 120;
const LOOK_MS = 1_200; // between two looks for a task that is not recorded yet

class RoomoteTask extends HTMLElement {
  connectedCallback() {
    this.instanceId = this.dataset.instance;
    this.instance = JSON.parse(document.getElementById("editor-snapshot").textContent);
    this.isOpen = this.hasAttribute("data-open");
    this.isLost = this.hasAttribute("data-lost");
    this.since = new Date(this.dataset.seen);
    this.taskId = this.instance.task.taskId;
    this.said = new Map(); // what is being written, by ts
    this.piece = (name) => this.querySelector(`[data-part=${name}]`);
    this.card = this.querySelector("roomote-question");
    this.composer = this.querySelector("roomote-composer");
    this.stop = new AbortController();
    this.listen();
    this.watchSizes();
    this.observer = new MutationObserver(() => this.settle());
    this.observer.observe(this.piece("talk"), { childList: true, subtree: true });
    this.link.join(this.taskId);
    this.takeQuestion(this.instance);
    this.show();
    this.toEnd();
    if (this.taskId && !this.isRecorded) this.look();
  }

  disconnectedCallback() {
    this.stop.abort();
    this.observer.disconnect();
    this.sizes.disconnect();
    clearInterval(this.timer);
    clearTimeout(this.looking);
  }

  listen() {
    const { signal } = this.stop;
    this.link = link();
    const on = (name, act) => this.link.addEventListener(name, (event) => act(event.detail), { signal });
    on("state", () => this.show());
    on("instance", (event) => event.instance.instanceId === this.instanceId && this.hear(event));
    on("task", (event) => event.taskId === this.taskId && this.hearTask(event));
    on("lost", ({ instanceId }) => instanceId === this.instanceId && this.lose());
    on("present", ({ ids }) => this.repair(ids));
    this.card.addEventListener("answer", (event) => this.answer(event.detail));
    this.composer.addEventListener("compose", (event) => this.compose(event.detail));
    this.composer.addEventListener("stop", () => this.end());
    this.addEventListener("click", (event) => this.onClick(event));
    addEventListener("scroll", () => (this.isPinned = this.isAtEnd()), { signal, passive: true });
    this.timer = setInterval(() => this.settle(), 2_000);
  }

  // --- What the editor says -----------------------------------------------------------------------

  hear({ type, instance }) {
    this.isOpen = type !== "instance_unregistered";
    this.isLost = false;
    this.since = new Date();
    this.instance = instance;
    if (instance.task.taskId !== this.taskId) this.turnTo(instance.task.taskId);
    this.takeQuestion(instance);
    this.show();
  }

  lose() {
    this.isLost = true;
    this.show();
  }

  /** After a break: what was being written is begun anew, what is recorded <task-live> fetches. */
  repair(ids) {
    this.isOpen = ids.has(this.instanceId);
    for (const one of [...this.said.values()]) if (!one.isDone) this.drop(one.ts);
    this.show();
  }

  /** Another task is open in the editor. @param {string} taskId */
  turnTo(taskId) {
    this.link.leave(this.taskId);
    this.taskId = taskId;
    this.link.join(taskId);
    this.question = null;
    this.isNew = false;
    this.looks = 0;
    for (const ts of [...this.said.keys()]) this.drop(ts);
    this.look();
  }

  get isRecorded() {
    return this.piece("talk").dataset.task === this.taskId;
  }

  /** Get the conversation of the task that is open now, as soon as it is recorded. */
  async look() {
    clearTimeout(this.looking);
    const wanted = this.taskId;
    const answer = await fetch(location.pathname).catch(() => null);
    const page = answer?.ok && new DOMParser().parseFromString(await answer.text(), "text/html");
    const fresh = page && page.querySelector("[data-part=talk]");
    if (wanted !== this.taskId || !this.isConnected) return;
    if (fresh && fresh.dataset.open === wanted) {
      this.turnPage(fresh, page);
      if (!wanted || this.isRecorded) return;
    }
    this.looks = (this.looks ?? 0) + 1;
    this.looking = setTimeout(() => this.look(), LOOK_MS * Math.min(this.looks, 5));
  }

  /** @param {HTMLElement} fresh the conversation as a reload would show it @param {Document} page */
  turnPage(fresh, page) {
    const talk = this.piece("talk");
    const isSame = fresh.dataset.open === talk.dataset.open && fresh.dataset.task === talk.dataset.task;
    if (isSame) return;
    talk.replaceChildren(...fresh.childNodes);
    Object.assign(talk.dataset, { open: fresh.dataset.open, task: fresh.dataset.task });
    this.piece("earlier").replaceWith(page.querySelector("[data-part=earlier]"));
    this.settle();
    this.toEnd();
  }

  // --- What a task says ---------------------------------------------------------------------------

  hearTask({ type, message }) {
    if (type !== "message" || !message) return;
    if (message.type === "ask" && !message.partial) {
      this.ask(message);
      this.drop(message.ts);
    } else {
      if (this.question && message.ts > this.question.ts) this.ask(null);
      this.write(message);
    }
    this.show();
  }

  /** Words as they come, whole each time. They are put on the page once a frame. */
  write(message) {
    const kind = message.type === "ask" ? message.ask : message.say;
    const who = (message.type === "ask" ? ASKED : SAID)[kind];
    if (who === undefined || !message.text) return;
    const one = this.said.get(message.ts) ?? this.begin(message.ts, kind, who);
    one.text = message.text;
    one.isDone = !message.partial;
    one.at = Date.now();
    this.frame ??= requestAnimationFrame(() => {
      this.frame = undefined;
      this.draw();
    });
  }

  begin(ts, kind, who) {
    const item = document.createElement("li");
    item.className = "talk__item roomote__said";
    item.dataset.form = kind === "user_feedback" ? "prompt" : kind === "completion_result" ? "result" : "reply";
    const body = document.createElement("div");
    body.className = who ? "talk__body said" : "talk__body";
    if (who) {
      const name = document.createElement("p");
      name.className = "said__who";
      name.textContent = who;
      body.append(name);
    }
    const text = document.createElement("div");
    text.className = "roomote__text";
    body.append(text);
    item.append(body);
    const one = { ts, item, place: text, text: "", isDone: false, at: 0 };
    this.said.set(ts, one);
    if (this.said.size > MOST_SAID) this.drop(this.said.keys().next().value);
    return one;
  }

  draw() {
    const wasPinned = this.isPinned;
    for (const one of this.said.values()) {
      if (one.place.textContent !== one.text) one.place.textContent = one.text;
      one.item.toggleAttribute("data-writing", !one.isDone);
      if (!one.item.isConnected) this.piece("said").append(one.item);
    }
    this.settle();
    if (wasPinned) this.toEnd();
  }

  /** Of a message there is either what is being written, or its recorded block. */
  settle() {
    for (const one of [...this.said.values()]) {
      const block = this.piece("talk").querySelector(`.talk > [id^="m${Math.trunc(one.ts)}-"]`);
      const silentMs = Date.now() - one.at;
      const isWritten = one.isDone && (block !== one.hidden || silentMs > RECORDED_MS);
      if (block && (isWritten || silentMs > UNTOUCHED_MS)) {
        this.drop(one.ts);
      } else if (block && !block.hidden) {
        one.hidden = block;
        block.hidden = true;
      }
    }
    if (this.isPinned) this.toEnd();
  }

  /** @param {number} ts */
  drop(ts) {
    const one = this.said.get(ts);
    if (!one) return;
    this.said.delete(ts);
    one.item.remove();
    if (one.hidden) one.hidden.hidden = false;
  }

  // --- The question -------------------------------------------------------------------------------

  /** What an instance mentions: later than the task itself says it, and again and again. */
  takeQuestion(instance) {
    const asked = askOf(instance);
    if (asked && asked.ts > (this.answered ?? 0)) this.ask(asked);
    else if (!asked && this.question && Date.now() - this.askedAt > MENTIONED_MS) this.ask(null);
  }

  /** @param {any} message */
  ask(message) {
    if (!message && this.question) this.answered = this.question.ts;
    if (message?.ts !== this.question?.ts) this.askedAt = Date.now();
    this.question = message;
  }

  answer({ type, payload, askTs }) {
    const body = { type, taskId: this.taskId, askTs, payload };
    const what = { approve_ask: "Approved", deny_ask: "Denied", message: "Answered" }[type];
    this.send("task:command", body, what, (receipt) => {
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
      if (this.newest === body) this.showReceipt(what, receipt);
      this.show();
    });
  }

  showReceipt(what, { state, reason, at }) {
    const time = at.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", second: "2-digit" });
    const words = {
      sending: "Sending …",
      sent: "Sent. Waiting for the editor …",
      queued: "The editor is away. It gets this once when it is back, if that is within a day.",
      cancelled: "Taken back. Nothing was sent.",
      confirmed: `${what}. The editor accepted it, ${time}`,
    };
    const place = this.piece("receipt");
    place.hidden = false;
    place.dataset.state = state;
    place.textContent = words[state] ?? reason;
    if (!reason.startsWith("Sign in again")) return;
    const again = document.createElement("a");
    again.href = `/accounts/reauthenticate/?next=${encodeURIComponent(location.pathname)}`;
    again.textContent = "Sign in";
    place.append(". ", again);
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

  get canAct() {
    return this.link.state === "live" && this.isOpen && !this.isLost;
  }

  /** A start can wait for an editor that is not there; nothing else can. */
  get canQueue() {
    return this.link.state === "live" && !this.isOpen;
  }

  get startsNew() {
    return this.isNew || !this.taskId || !this.isOpen;
  }

  show() {
    const { instance } = this;
    this.put("title", titleOf(instance));
    this.put("place", placeOf(instance));
    this.put("manner", mannerOf(instance));
    this.put("used", usedOf(instance));
    this.showState();
    this.card.show(this.isOpen ? this.question : null, this.canAct);
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

  put(name, text) {
    const place = this.piece(name);
    if (place.textContent !== text) place.textContent = text;
  }

  showState() {
    const since = this.since.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
    let [state, text] = [this.link.state, this.link.words];
    if (state === "live" && !this.isOpen) [state, text] = ["offline", `Editor offline since ${since}`];
    else if (state === "live" && this.isLost) [state, text] = ["wait", "Editor reconnecting …"];
    this.piece("link").dataset.state = state;
    this.put("link", text);
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

  isAtEnd() {
    const page = document.documentElement;
    return page.scrollHeight - innerHeight - scrollY < NEAR_END;
  }

  toEnd() {
    scrollTo({ top: document.documentElement.scrollHeight, behavior: "instant" });
    this.isPinned = true;
  }

  /** The dock lies over the page and above the keyboard; the page leaves room for it. */
  watchSizes() {
    const { style } = document.documentElement;
    this.sizes = new ResizeObserver(([entry]) => {
      const wasPinned = this.isPinned;
      style.setProperty("--dock", `${Math.ceil(entry.borderBoxSize[0].blockSize)}px`);
      if (wasPinned) this.toEnd();
    });
    this.sizes.observe(this.piece("dock"));
    const fit = () => {
      const hidden = innerHeight - visualViewport.height - visualViewport.offsetTop;
      style.setProperty("--keyboard", `${Math.max(0, Math.round(hidden))}px`);
    };
    for (const name of ["resize", "scroll"]) visualViewport?.addEventListener(name, fit, { signal: this.stop.signal });
  }
}

customElements.define("roomote-task", RoomoteTask);
