/**
 * <mask-selection form="id" field="id">: text that is selected inside of it can be masked at once.
 * Without a script the text is copied into the field by hand.
 */
class MaskSelection extends HTMLElement {
  connectedCallback() {
    this.button = document.createElement("button");
    this.button.type = "button";
    this.button.className = "button masks__selection";
    this.button.textContent = "Mask the selected text";
    this.button.hidden = true;
    this.button.addEventListener("click", () => this.submit());
    this.append(this.button);
    this.watch = () => this.look();
    document.addEventListener("selectionchange", this.watch);
  }

  disconnectedCallback() {
    document.removeEventListener("selectionchange", this.watch);
  }

  look() {
    const selection = document.getSelection();
    const inside = selection && this.contains(selection.anchorNode) && this.contains(selection.focusNode);
    const text = inside ? selection.toString().trim() : "";
    // Pressing the button may end the selection before the click arrives.
    if (text) this.text = text;
    this.button.hidden = !text && document.activeElement !== this.button;
  }

  submit() {
    const form = document.getElementById(this.getAttribute("form") ?? "");
    const field = document.getElementById(this.getAttribute("field") ?? "");
    if (!(form instanceof HTMLFormElement) || !(field instanceof HTMLTextAreaElement)) return;
    field.value = this.text ?? "";
    form.requestSubmit();
  }
}

customElements.define("mask-selection", MaskSelection);
