/** What became of a command, in words. */

const WORDS = {
  __proto__: null,
  sending: "Sending …",
  sent: "Sent. Waiting for the editor …",
  queued: "The editor is away. It gets this once when it is back, if that is within a day.",
  cancelled: "Taken back. Nothing was sent.",
};

/** What an answer to a question did. */
export const ANSWERED = { __proto__: null, approve_ask: "Approved", deny_ask: "Denied", message: "Answered" };

/**
 * @param {HTMLElement} place @param {string} what it did, "Approved"
 * @param {import("bridge-link").Receipt} receipt
 */
export function showReceipt(place, what, { state, reason, at }) {
  const time = at.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", second: "2-digit" });
  place.hidden = false;
  place.dataset.state = state;
  place.textContent = state === "confirmed" ? `${what}. The editor accepted it, ${time}` : (WORDS[state] ?? reason);
  if (!reason.startsWith("Sign in again")) return;
  const again = document.createElement("a");
  again.href = `/accounts/reauthenticate/?next=${encodeURIComponent(location.pathname)}`;
  again.textContent = "Sign in";
  place.append(". ", again);
}
