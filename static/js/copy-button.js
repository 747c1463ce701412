/**
 * <copy-button for="id">: copies the text or value of the element with that id.
 * Without a script there is no button, and the text can be selected.
 */
class CopyButton extends HTMLElement {
  connectedCallback() {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = "Copy";
    button.addEventListener("click", () => this.copy(button));
    this.replaceChildren(button);
  }

  /** @param {HTMLButtonElement} button */
  async copy(button) {
    this.dispatchEvent(new CustomEvent("before-copy", { bubbles: true }));
    const source = document.getElementById(this.getAttribute("for") ?? "");
    if (!source) return;
    await navigator.clipboard.writeText(source.textContent.trim());
    button.textContent = "Copied";
    setTimeout(() => (button.textContent = "Copy"), 2000);
  }
}

customElements.define("copy-button", CopyButton);
