/**
 * <roomote-question>: what a task waits for, and how to answer it: first what is asked, whole, then
 * the buttons. Only the question that is shown can be answered. Fires "answer" with
 * {type, payload, askTs}. With data-readonly it is somebody else's to answer.
 */
const RISKS = [
  [/\b(rm|rmdir|unlink|del|shred|truncate)\s|\bgit\s+(clean|reset|push|checkout\s+--)|\bdrop\s+(table|database)/i, "deletes or overwrites"],
  [/\b(curl|wget|ssh|scp|rsync|nc|ftp)\b|\b(npm|pnpm|yarn|pip|cargo|go|apt|brew)\s+(i|install|add|publish|get)\b/i, "uses the network"],
  [/\bsudo\b|\bsu\s|\bchmod\b|\bchown\b/i, "changes rights"],
];
const SECRETS = /\.env\b|\.pem\b|id_(rsa|ed25519)|credentials|secret/i;
const TOOLS = {
  __proto__: null,
  editedExistingFile: "Edit this file?", appliedDiff: "Edit this file?", newFileCreated: "Create this file?",
  insertContent: "Insert into this file?", searchAndReplace: "Replace in this file?", readFile: "Read this file?",
  listFilesTopLevel: "List this folder?", listFilesRecursive: "List this folder?", searchFiles: "Search the files?",
  codebaseSearch: "Search the code?", switchMode: "Switch the mode?", newTask: "Start a subtask?",
  finishTask: "Finish the subtask?", updateTodoList: "Change the to-do list?", generateImage: "Generate an image?",
  runSlashCommand: "Run a slash command?", skill: "Use a skill?",
};
/** Questions to which there is nothing to approve: what is said next goes on with the task. */
const OPEN = {
  __proto__: null,
  completion_result: "Finished. Write what should follow, or start a new task.",
  resume_completed_task: "This task was finished. Write to go on with it.",
};

/** @param {string} text @returns {Record<string, any>} */
function parsed(text) {
  try {
    const value = JSON.parse(text);
    return value && typeof value === "object" ? value : {};
  } catch {
    return {};
  }
}

/**
 * What a question is about.
 * @param {{ask: string, text?: string}} message
 * @returns {{title: string, target?: string, text?: string, isDiff?: boolean, risks?: string[],
 *   suggestions?: {answer: string, mode?: string}[], approve?: string, deny?: string}}
 */
export function describe({ ask, text = "" }) {
  const told = parsed(text);
  switch (ask) {
    case "command":
      return {
        title: "Run this command?", text, approve: "Run", deny: "Deny",
        risks: [...RISKS, [SECRETS, "mentions secrets"]].filter(([sign]) => sign.test(text)).map(([, risk]) => risk),
      };
    case "tool":
      return tool(told, text);
    case "followup":
      return {
        title: "A question for you",
        text: word(told.question) || text,
        suggestions: objects(told.suggest).filter((one) => word(one.answer)),
      };
    case "use_mcp_server":
      return {
        title: `Use the MCP server ${word(told.serverName)}?`, target: word(told.toolName) || word(told.uri),
        text: word(told.arguments) || text, approve: "Allow", deny: "Deny",
      };
    case "browser_action_launch":
      return { title: "Open this page in a browser?", text, approve: "Open", deny: "Deny" };
    case "command_output":
      return { title: "The command is still running", approve: "Go on meanwhile", deny: "Stop the command" };
    case "resume_task":
      return { title: "This task was interrupted", approve: "Resume" };
    case "api_req_failed":
      return { title: "The provider failed", text, approve: "Try again" };
    case "mistake_limit_reached":
      return { title: "Too many mistakes in a row", text, approve: "Go on anyway" };
    case "auto_approval_max_req_reached":
      return { title: "The limit of automatic approvals is reached", approve: "Go on" };
    default:
      return { title: OPEN[ask] ?? "Allow this?", ...(ask in OPEN ? {} : { text, approve: "Approve", deny: "Deny" }) };
  }
}

/** @param {Record<string, any>} told @param {string} text */
function tool(told, text) {
  const batch = [told.batchDiffs, told.batchFiles, told.batchDirs].flatMap(objects);
  const shown = batch.length ? batch.map((part) => `${word(part.path)}\n${content(part)}`.trim()) : [content(told)];
  const isKnown = told.tool in TOOLS;
  const isDiff = isKnown && /edit|diff|create|insert|replace/i.test(told.tool);
  const path = word(told.path);
  const risks = [
    [told.isOutsideWorkspace === true, "outside the workspace"],
    [told.isProtected === true, "a protected file"],
    [SECRETS.test(path), "mentions secrets"],
  ];
  const about = word(told.reason) || word(told.regex) || word(told.query);
  return {
    title: isKnown ? TOOLS[told.tool] : `Use the tool ${word(told.tool)}?`,
    target: path || word(told.mode) || word(told.skill) || word(told.command) || (batch.length ? `${batch.length} files` : ""),
    text: isKnown ? shown.filter(Boolean).join("\n\n") || about : text, // of an unknown tool, all
    isDiff,
    risks: risks.filter(([applies]) => applies).map(([, risk]) => risk),
    approve: isDiff ? "Save" : "Approve",
    deny: "Deny",
  };
}

/** @param {Record<string, any>} part of a tool */
function content(part) {
  return word(part.diff) || word(part.content) || objects(part.diffs).map((one) => word(one.content)).join("\n");
}

/** @param {unknown} value */
function word(value) {
  return typeof value === "string" ? value : "";
}

/** @param {unknown} value @returns {Record<string, any>[]} */
function objects(value) {
  return Array.isArray(value) ? value.filter((one) => one && typeof one === "object") : [];
}

/** Signs that are not seen, or that turn the order of others around, by their numbers. @param {string} text */
function visible(text) {
  return text.replace(/[\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff]/g, (sign) => {
    return `⟨U+${sign.charCodeAt(0).toString(16).toUpperCase()}⟩`;
  });
}

/** Whether somebody is waited for. @param {string} ask */
export function isWaiting(ask) {
  return !(ask in OPEN);
}

class RoomoteQuestion extends HTMLElement {
  /** The question that is shown; null for none. @param {any} message @param {boolean} canAct */
  show(message, canAct) {
    this.hidden = !message;
    if (!message) {
      this.key = "";
      this.replaceChildren();
      return;
    }
    const key = `${message.ts} ${message.ask} ${message.text ?? ""}`;
    if (key !== this.key) {
      this.key = key;
      this.ts = message.ts;
      this.replaceChildren(...this.parts(describe(message)));
      this.readOn();
    }
    for (const button of this.querySelectorAll("button[data-type]")) {
      button.disabled = !canAct || this.isSent;
    }
  }

  /** @param {ReturnType<typeof describe>} asked */
  parts(asked) {
    this.isSent = false;
    this.setAttribute("aria-label", visible(asked.title));
    const parts = [this.make("h2", "ask__title", asked.title)];
    if (asked.target) parts.push(this.make("p", "ask__target", asked.target));
    for (const risk of asked.risks ?? []) {
      const badge = this.make("span", "badge", risk);
      badge.dataset.state = "warn";
      parts.push(badge);
    }
    if (asked.text) parts.push(this.body(asked));
    for (const { answer, mode } of asked.suggestions ?? []) parts.push(this.suggestion(answer, mode));
    if (this.hasAttribute("data-readonly")) parts.push(this.make("p", "quiet", "Its own person answers."));
    else if (asked.approve) parts.push(...this.decisions(asked));
    return parts;
  }

  body(asked) {
    const body = this.make(asked.suggestions ? "p" : "pre", "ask__body");
    body.tabIndex = 0;
    body.setAttribute("role", "region");
    body.setAttribute("aria-label", "What is asked");
    if (!asked.isDiff) body.textContent = visible(asked.text);
    else for (const line of asked.text.split("\n")) body.append(this.line(line));
    return body;
  }

  /** Nothing is approved before its end was in sight: until then the button leads there. */
  readOn() {
    const body = this.querySelector(".ask__body");
    const button = this.querySelector("[data-type=approve_ask]");
    if (!body || !button) return;
    const isRead = () => body.scrollTop + body.clientHeight >= body.scrollHeight - 8;
    const approve = button.textContent;
    const look = () => {
      if (isRead()) this.isRead = true;
      button.textContent = this.isRead ? approve : "Read on ↓";
    };
    this.isRead = false;
    body.addEventListener("scroll", look, { passive: true });
    look();
  }

  /** @param {string} text */
  line(text) {
    const line = this.make("span", "ask__line", text || " ");
    if (/^\+(?!\+\+)/.test(text)) line.dataset.state = "added";
    if (/^-(?!--)/.test(text)) line.dataset.state = "removed";
    return line;
  }

  suggestion(answer, mode) {
    const button = this.button(mode ? `${answer} (${mode})` : answer, "message", "button--quiet ask__suggestion");
    button.addEventListener("click", () => this.answer("message", { text: answer, ...(mode ? { mode } : {}) }));
    return button;
  }

  decisions(asked) {
    const note = this.make("textarea", "ask__note");
    note.hidden = true;
    note.rows = 2;
    note.setAttribute("aria-label", "Note that goes with your answer");
    note.placeholder = "Goes with Approve or Deny";
    const row = this.make("div", "ask__buttons");
    const add = (text, type, look) => {
      const button = this.button(text, type, look);
      const payload = () => (note.value.trim() ? { text: note.value.trim() } : {});
      button.addEventListener("click", () => {
        const body = this.querySelector(".ask__body");
        if (type !== "approve_ask" || !body || this.isRead) this.answer(type, payload());
        else body.scrollBy({ top: body.clientHeight * 0.9, behavior: "instant" });
      });
      row.append(button);
    };
    add(asked.approve, "approve_ask", "");
    if (asked.deny) add(asked.deny, "deny_ask", "button--danger");
    const toggle = this.make("button", "button button--quiet", "Note");
    toggle.type = "button";
    toggle.setAttribute("aria-expanded", "false");
    toggle.setAttribute("aria-label", "Add a note to your answer");
    toggle.addEventListener("click", () => {
      note.hidden = !note.hidden;
      toggle.setAttribute("aria-expanded", String(!note.hidden));
      if (!note.hidden) note.focus();
    });
    row.append(toggle);
    return [note, row];
  }

  button(text, type, look) {
    const button = this.make("button", `button ${look}`.trim(), text);
    button.type = "button";
    button.dataset.type = type;
    return button;
  }

  make(tag, className, text = "") {
    const made = document.createElement(tag);
    made.className = className;
    made.textContent = visible(text);
    return made;
  }

  answer(type, payload) {
    this.lock(true);
    const detail = { type, payload, askTs: this.ts };
    this.dispatchEvent(new CustomEvent("answer", { bubbles: true, detail }));
  }

  /** While an answer is on its way there is no second one. @param {boolean} isSent */
  lock(isSent) {
    this.isSent = isSent;
    this.toggleAttribute("data-sent", isSent);
    for (const button of this.querySelectorAll("button[data-type]")) button.disabled = isSent;
  }
}

customElements.define("roomote-question", RoomoteQuestion);
