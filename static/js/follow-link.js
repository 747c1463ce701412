/** <follow-link>: follows the link inside it, once. Without a script the link is there to be clicked. */
class FollowLink extends HTMLElement {
  connectedCallback() {
    const link = this.querySelector("a");
    if (link) window.location.href = link.href;
  }
}

customElements.define("follow-link", FollowLink);
