/** What an editor's instance says, in words. bridge/overview.py says the same on the server. */

const HOLDING = ["api_req_failed", "mistake_limit_reached", "auto_approval_max_req_reached"];

/** The question that it mentions. @param {any} instance */
export function askOf(instance) {
  return instance.taskAsk ?? instance.task.taskAsk;
}

/** @param {any} instance @returns {"needs" | "running" | "idle"} */
export function stateOf(instance) {
  const { task } = instance;
  const isHeld = HOLDING.includes(askOf(instance)?.ask);
  if (task.taskId && (task.taskStatus === "interactive" || isHeld)) return "needs";
  return task.taskStatus === "running" ? "running" : "idle";
}

/** @param {any} instance */
export function titleOf(instance) {
  const prompt = (instance.task.task ?? "").trim().split("\n")[0];
  return prompt.slice(0, 140) || (instance.task.taskId ? "Task without a prompt" : "No task open");
}

/** @param {any} instance */
export function placeOf(instance) {
  const git = instance.gitProperties ?? {};
  const folder = instance.workspacePath.split(/[\\/]/).filter(Boolean).at(-1);
  return [git.repositoryName ?? folder, git.defaultBranch, instance.appProperties.hostname].filter(Boolean).join(" · ");
}

/** Dollars as the pages of the server write them. @param {number} amount */
function usd(amount) {
  const most = amount < 0.01 ? 6 : amount < 1 ? 4 : 2;
  return amount.toLocaleString("en", { style: "currency", currency: "USD", maximumFractionDigits: most });
}

/** @param {any} instance */
export function usedOf(instance) {
  const used = instance.task.tokenUsage;
  if (!used || !instance.task.taskId) return "";
  const tokens = (used.totalTokensIn ?? 0) + (used.totalTokensOut ?? 0);
  return `${tokens.toLocaleString("en")} tokens · ${usd(used.totalCost ?? 0)}`;
}

/** @param {string[]} [people] names */
export function watchedBy(people = []) {
  if (people.length < 2) return people.length ? `${people[0]} is watching` : "";
  return `${people.length} people are watching: ${people.join(", ")}`;
}

/** @param {any} instance */
export function mannerOf(instance) {
  return [instance.mode, instance.providerProfile].filter(Boolean).join(" · ");
}
