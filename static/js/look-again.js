/** <look-again>: reloads the page after a moment. Without a script the link inside it does. */
class LookAgain extends HTMLElement {
  connectedCallback() {
    this.timer = setTimeout(() => window.location.reload(), 3000);
  }

  disconnectedCallback() {
    clearTimeout(this.timer);
  }
}

customElements.define("look-again", LookAgain);
