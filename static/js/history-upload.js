/**
 * <history-upload data-limit="bytes">: around the form that imports tasks. It adds what a form alone
 * cannot do: choosing a folder, of which it sends the files that count as one archive, and showing
 * how much is sent. Without a script the form takes archives.
 */
const COUNTS = new Set([
  "ui_messages.json",
  "claude_messages.json",
  "api_conversation_history.json",
  "task_metadata.json",
  "history_item.json",
  "_index.json",
  "taskHistory.json",
]);
const MAX_FILES = 65534;

class HistoryUpload extends HTMLElement {
  connectedCallback() {
    this.form = this.querySelector("form");
    this.folder = this.querySelector("#folder");
    this.archive = this.querySelector("input[name=archive]");
    if (typeof CompressionStream !== "undefined") {
      this.part("folder").hidden = false;
      this.archive.required = false;
      this.part("archive").open = this.part("error").textContent.trim() !== "";
    }
    this.form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.send().catch(() => this.fail("It could not be sent. Try again."));
    });
  }

  /** @param {string} name @returns {HTMLElement} */
  part(name) {
    return this.querySelector(`[data-part="${name}"]`);
  }

  async send() {
    this.part("error").textContent = "";
    const chosen = [...this.folder.files];
    const files = chosen
      .filter((file) => COUNTS.has(file.name))
      .map((file) => ({ path: file.webkitRelativePath, file }));
    if (!this.archive.files.length && !chosen.length) {
      this.fail("Choose a folder or an archive first.");
    } else if (!chosen.length) {
      this.upload(this.archive.files[0]);
    } else if (!files.some(({ file }) => file.name.endsWith("_messages.json"))) {
      this.fail("No task is in this folder. Choose the one named tasks, or one above it.");
    } else if (files.length > MAX_FILES) {
      this.fail("These are more tasks than can be sent at once. Choose folders in it one by one.");
    } else {
      this.form.querySelector("button").disabled = true;
      const { zip } = await import(this.dataset.zip);
      const archive = await zip(files, (done) =>
        this.show(`Packing ${done} of ${files.length} files`, done / files.length),
      );
      this.upload(archive);
    }
  }

  /** @param {Blob} archive */
  upload(archive) {
    const limit = Number(this.dataset.limit);
    if (archive.size > limit) {
      const mib = (bytes) => Math.ceil(bytes / 2 ** 20);
      this.fail(`That is ${mib(archive.size)} MiB, and this server takes ${mib(limit)}.`);
      return;
    }
    this.form.querySelector("button").disabled = true;
    const body = new FormData();
    body.set("csrfmiddlewaretoken", this.form.elements.csrfmiddlewaretoken.value);
    body.set("archive", archive, "tasks.zip");
    const request = new XMLHttpRequest();
    request.upload.addEventListener("progress", ({ loaded, total }) =>
      this.show(loaded < total ? "Sending" : "Looking into it", loaded / total),
    );
    request.addEventListener("load", () => this.answered(request));
    request.addEventListener("error", () => this.fail("The connection was lost. Try again."));
    request.open("POST", this.form.action);
    request.send(body);
    this.show("Sending", 0);
  }

  /** @param {XMLHttpRequest} request */
  answered(request) {
    if (request.status === 200) {
      window.location.assign(request.responseURL);
      return;
    }
    const page = new DOMParser().parseFromString(request.responseText, "text/html");
    const told = page.querySelector('[data-part="error"]')?.textContent.trim();
    this.fail(told || "The server did not take it. Try again, or with less at once.");
  }

  /** @param {string} words @param {number} share */
  show(words, share) {
    this.part("status").hidden = false;
    this.part("words").textContent = words;
    this.part("bar").value = share;
  }

  /** @param {string} words */
  fail(words) {
    this.part("status").hidden = true;
    this.part("error").textContent = words;
    this.form.querySelector("button").disabled = false;
  }
}

customElements.define("history-upload", HistoryUpload);
