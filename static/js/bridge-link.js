/**
 * The one connection of a page to its person's editors. It says whether it stands, passes on what
 * comes, and sends commands: each once, under an id of its own, with what became of it.
 *
 * Events: "state"; "instance" {type, instance, timestamp}; "lost" {instanceId}; "present" {ids}: all
 * editors that are there, after each connecting; "task" (what a task that was joined publishes); "receipt" {state}: of a
 * command from any page of this person, or that it was queued; "watched": who watches one's editors has changed.
 * Of somebody else's editor that is watched: "watch-began", what is there of it comes now; "watch-stands", that was all;
 * "watch-instance", "watch-task", "watch-lost" as above; "watch-ended".
 */
import { io } from "socket.io-client";

const ANSWER_MS = 5_000; // for the server to acknowledge
const SETTLED_MS = 15_000; // after which every command has its receipt (D2)
const GIVE_UP_MS = 12_000; // after which one that was never acknowledged is not sent any more
const PROBE_MS = 5_000; // between two signs of life
const OFFLINE_MS = 8_000; // of reconnecting, after which it is called offline

/** @typedef {{key: string, state: string, reason: string, at: Date}} Receipt */

export const REASONS = {
  too_late: "Too late: the question changed, or was answered elsewhere. Nothing was sent.",
  already_answered: "This question was answered already. Nothing was sent.",
  not_heard_of: "The editor has not mentioned this question for a minute. Nothing was sent.",
  instance_offline: "This editor is not connected. Nothing was sent.",
  task_not_found: "No connected editor has this task open. Nothing was sent.",
  too_many_waiting: "Too many tasks wait for your editors already. Nothing was sent: cancel one first.",
  invalid_command: "The server could not read this. Nothing was sent.",
  unavailable: "The server cannot take commands right now. Nothing was sent.",
  editor_did_not_come: "The editor did not come back in time. Nothing was sent.",
  no_effect_seen: "The editor did not react. It may have been carried out: look before you try again.",
  lost: "The connection broke. Whether it arrived is not known: look before you try again.",
};

class BridgeLink extends EventTarget {
  constructor() {
    super();
    this.state = "wait";
    this.since = new Date();
    this.heardAt = 0;
    this.present = new Set();
    this.tasks = new Set();
    this.watchers = new Map(); // names of those who watch, by instance
    this.open = new Map(); // commands without a final receipt, by key
    this.socket = io({
      query: { clientType: "web" },
      transports: ["websocket", "polling"],
      reconnectionDelay: 400,
      reconnectionDelayMax: 3_000,
      timeout: 8_000,
    });
    const on = (name, act) => this.socket.on(name, act);
    this.socket.onAny(() => (this.heardAt = Date.now()));
    on("connect", () => this.connected());
    on("disconnect", (reason) => this.broken(reason));
    on("connect_error", () => this.refused());
    on("auth_error", () => this.signIn());
    on("extension:relayed_event", (event) => {
      const isGone = event.type === "instance_unregistered";
      this.present[isGone ? "delete" : "add"](event.instance.instanceId);
      this.tell("instance", event);
    });
    on("instance:lost", (lost) => this.tell("lost", lost));
    on("task:relayed_event", (event) => this.tell("task", event));
    on("instance:watched", ({ instanceId, people }) => {
      this.watchers.set(instanceId, people);
      this.tell("watched");
    });
    on("watch:extension_event", (event) => this.tell("watch-instance", event));
    on("watch:task_event", (event) => this.tell("watch-task", event));
    on("watch:lost", () => this.tell("watch-lost"));
    on("watch:ended", () => this.endWatch());
    on("command:updated", (receipt) => {
      this.settle(receipt.key, receipt.state, receipt.reason);
      this.tell("receipt", receipt);
    });
    addEventListener("online", () => this.wake());
    addEventListener("offline", () => this.probe());
    addEventListener("pageshow", (event) => event.persisted && this.wake());
    document.addEventListener("visibilitychange", () => this.look());
    setInterval(() => document.hidden || this.probe(), PROBE_MS);
    this.offline = setTimeout(() => this.be("offline"), OFFLINE_MS);
  }

  /** @param {string} name @param {unknown} detail */
  tell(name, detail) {
    this.dispatchEvent(new CustomEvent(name, { detail }));
  }

  // --- Whether it stands ------------------------------------------------------------------------

  /** @param {"live" | "wait" | "offline"} state */
  be(state) {
    if (this.state === "live") this.since = new Date();
    this.state = state;
    this.tell("state", state);
  }

  get words() {
    if (this.state === "live") return "Live";
    const since = this.since.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
    return this.state === "offline" ? `Offline since ${since}` : "Reconnecting …";
  }

  async connected() {
    clearTimeout(this.offline);
    this.present.clear();
    this.watchers.clear();
    if (!document.hidden) for (const taskId of this.tasks) this.socket.emit("task:join", { taskId });
    if (!(await this.answers())) {
      this.socket.io.engine.close();
      return;
    }
    // The server tells of all editors that are there before it answers anything.
    this.be("live");
    this.tell("present", { ids: this.present });
    this.tell("watched");
    this.lookOn();
    for (const command of this.open.values()) this.attempt(command);
  }

  /** @param {string} reason */
  broken(reason) {
    if (this.state === "live") this.be("wait");
    clearTimeout(this.offline);
    this.offline = setTimeout(() => this.be("offline"), OFFLINE_MS);
    if (reason === "io server disconnect") this.socket.connect();
  }

  /** Of a sign-in that ended, the page knows more than the socket. */
  async refused() {
    if (Date.now() - (this.askedAt ?? 0) < 5_000) return;
    this.askedAt = Date.now();
    const answer = await fetch(location.href, { method: "HEAD", redirect: "manual" }).catch(() => null);
    if (answer?.type === "opaqueredirect") this.signIn();
  }

  signIn() {
    location.assign(`/accounts/login/?next=${encodeURIComponent(location.pathname)}`);
  }

  /** Whether the server answers now. What it says before the answer was heard before it. */
  async answers() {
    try {
      await this.socket.timeout(ANSWER_MS).emitWithAck("task:leave", { taskId: "-" });
      this.heardAt = Date.now();
      return true;
    } catch {
      return false;
    }
  }

  /** A transport that broke without a word is given up, and begun anew. */
  async probe() {
    if (!this.socket.connected || this.isProbing || Date.now() - this.heardAt < PROBE_MS) return;
    this.isProbing = true;
    if (!(await this.answers()) && this.socket.connected) this.socket.io.engine.close();
    this.isProbing = false;
  }

  wake() {
    if (this.socket.connected) {
      this.heardAt = 0;
      this.probe();
    } else {
      this.socket.disconnect().connect(); // at once, instead of after its pause
    }
  }

  // --- Tasks ------------------------------------------------------------------------------------

  /** A page that nobody looks at follows no task: its person gets notifications instead. */
  look() {
    const act = document.hidden ? "task:leave" : "task:join";
    if (this.socket.connected) for (const taskId of this.tasks) this.socket.emit(act, { taskId });
    if (!document.hidden) this.wake();
  }

  /** @param {string} taskId */
  join(taskId) {
    if (!taskId || this.tasks.has(taskId)) return;
    this.tasks.add(taskId);
    if (this.socket.connected && !document.hidden) this.socket.emit("task:join", { taskId });
  }

  /** @param {string} taskId */
  leave(taskId) {
    if (this.tasks.delete(taskId) && this.socket.connected) this.socket.emit("task:leave", { taskId });
  }

  // --- Watching ---------------------------------------------------------------------------------

  /** @param {{organizationId: string, userId: string, instanceId: string}} editor somebody else's */
  watch(editor) {
    this.watched = editor;
    this.lookOn();
  }

  async lookOn() {
    if (!this.watched || this.state !== "live") return;
    this.tell("watch-began");
    const answer = await this.socket
      .timeout(ANSWER_MS)
      .emitWithAck("editor:watch", this.watched)
      .catch(() => null);
    if (answer?.success) this.tell("watch-stands");
    else if (answer?.error === "not_found") this.endWatch();
    else setTimeout(() => this.lookOn(), 1_000);
  }

  endWatch() {
    this.watched = null;
    this.tell("watch-ended");
  }

  // --- Commands ---------------------------------------------------------------------------------

  /** Take back a start that waits. @param {string} commandId */
  cancel(commandId) {
    if (this.socket.connected) this.socket.emit("command:cancel", { commandId });
  }

  /**
   * Send a command. A repetition after a break has the same id, so it never goes out twice.
   * @param {"extension:command" | "task:command"} event
   * @param {object} body without a commandId
   * @param {(receipt: Receipt) => void} hear called at each change
   */
  send(event, body, hear) {
    const key = crypto.randomUUID();
    const command = { key, event, body: { ...body, commandId: key }, hear, at: Date.now(), state: "sending" };
    this.open.set(key, command);
    hear({ key, state: "sending", reason: "", at: new Date() });
    command.overdue = setTimeout(() => this.attempt(command), SETTLED_MS);
    this.attempt(command);
  }

  async attempt(command) {
    if (!this.open.has(command.key) || command.isAsking || command.state === "queued") return;
    const wasSent = command.state === "sent";
    if (!this.socket.connected) {
      if (!wasSent && Date.now() - command.at > GIVE_UP_MS) this.settle(command.key, "unconfirmed", "lost");
      else if (!wasSent) setTimeout(() => this.attempt(command), 1_000);
      return;
    }
    if (!wasSent && Date.now() - command.at > GIVE_UP_MS) {
      this.settle(command.key, "unconfirmed", "lost");
      return;
    }
    command.isAsking = true;
    const answer = await this.socket
      .timeout(ANSWER_MS)
      .emitWithAck(command.event, command.body)
      .catch(() => null);
    command.isAsking = false;
    if (!answer) setTimeout(() => this.attempt(command), 500);
    else if (answer.success) this.settle(command.key, answer.state, "");
    else this.settle(command.key, "failed", answer.error === "forbidden" ? answer.reason : answer.error);
  }

  /** @param {string} key @param {string} state @param {string} reason a word of REASONS, or a sentence */
  settle(key, state, reason) {
    const command = this.open.get(key);
    if (!command) return;
    command.state = state;
    if (state !== "sent" && state !== "queued") {
      clearTimeout(command.overdue);
      this.open.delete(key);
    }
    command.hear({ key, state, reason: REASONS[reason] ?? reason, at: new Date() });
    if (state === "queued") this.tell("receipt", { key, state });
  }
}

let only;

/** The link of this page. */
export function link() {
  return (only ??= new BridgeLink());
}
