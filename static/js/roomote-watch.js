/**
 * <roomote-watch>: somebody else's editor, to look at and no more. Its person sees who does.
 */
import { RoomoteView } from "roomote-view";

class RoomoteWatch extends RoomoteView {
  listen() {
    super.listen();
    this.on("watch-began", () => (this.isOpen = this.isLost = false)); // what is there follows
    this.on("watch-instance", (event) => this.hear(event));
    this.on("watch-task", (event) => event.taskId === this.taskId && this.hearTask(event));
    this.on("watch-lost", () => this.lose());
    this.on("watch-stands", () => this.beginAnew());
    this.on("watch-ended", () => {
      this.isOver = true;
      this.show();
    });
    const { organization, person } = this.dataset;
    this.link.watch({ organizationId: organization, userId: person, instanceId: this.instanceId });
  }

  showState() {
    super.showState();
    if (!this.isOver) return;
    this.piece("link").dataset.state = "offline";
    this.put("link", "This editor cannot be watched any more");
  }
}

customElements.define("roomote-watch", RoomoteWatch);
