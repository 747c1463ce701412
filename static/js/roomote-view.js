/**
 * An editor from afar, as <roomote-task> and <roomote-watch> show it: what is recorded of its task
 * <task-live> keeps in order; here are the words that are being written, and the question that waits.
 */
import { link } from "bridge-link";
import { askOf, mannerOf, placeOf, titleOf, usedOf } from "roomote-instance";

/** What is shown while it is written, by kind: who says it. */
const SAID = {
  __proto__: null,
  text: "", reasoning: "Thinking", completion_result: "Result", command_output: "Output", user_feedback: "You",
  error: "Error", mcp_server_response: "Answer of the MCP server",
};
const ASKED = { __proto__: null, tool: "Is about to use a tool", command: "Is about to run", followup: "Is about to ask" };
const MENTIONED_MS = 3_000; // within which an editor mentions a question that it raised
const UNTOUCHED_MS = 3_500; // after which what is recorded counts: the rest may have been missed (D8)
const RECORDED_MS = 2_000; // after which the block of a whole message is the whole one too
const MOST_SAID = 100;
const NEAR_END = 120;
const LOOK_MS = 1_200; // between two looks for a task that is not recorded yet

export class RoomoteView extends HTMLElement {
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
    this.stop = new AbortController();
    this.link = link();
    this.listen();
    this.watchSizes();
    this.observer = new MutationObserver(() => this.settle());
    this.observer.observe(this.piece("talk"), { childList: true, subtree: true });
    this.follow("", this.taskId);
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
    this.on("state", () => this.show());
    addEventListener("scroll", () => (this.isPinned = this.isAtEnd()), { signal, passive: true });
    this.timer = setInterval(() => this.settle(), 1_000);
  }

  /** What the link tells. @param {string} name @param {(detail: any) => void} act */
  on(name, act) {
    this.link.addEventListener(name, (event) => act(event.detail), { signal: this.stop.signal });
  }

  /** Another task is to be heard of. @param {string} _former @param {string} _taskId */
  follow(_former, _taskId) {}

  /** What is beside the conversation. @param {Document} _page as a reload would show it */
  turnRest(_page) {}

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
  beginAnew() {
    for (const one of [...this.said.values()]) if (!one.isDone) this.drop(one.ts);
    this.show();
  }

  /** Another task is open in the editor. @param {string} taskId */
  turnTo(taskId) {
    this.follow(this.taskId, taskId);
    this.taskId = taskId;
    this.question = null;
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
    this.turnRest(page);
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

  // --- The page -----------------------------------------------------------------------------------

  /** What the editor says of itself, whether it is there, and what it waits for. */
  show() {
    const { instance } = this;
    this.put("title", titleOf(instance));
    this.put("place", placeOf(instance));
    this.put("manner", mannerOf(instance));
    this.put("used", usedOf(instance));
    this.showState();
    this.card.show(this.isOpen ? this.question : null, this.canAct);
  }

  get canAct() {
    return this.link.state === "live" && this.isOpen && !this.isLost;
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

  isAtEnd() {
    const page = document.documentElement;
    return page.scrollHeight - innerHeight - scrollY < NEAR_END;
  }

  toEnd() {
    if (this.hasAttribute("data-changes")) return; // the conversation is hidden
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
