// Devices that carry out what they are sent once by its id, acknowledge it, and count what they saw.
// Payloads have a number that grows within a task. One JSON object a line in, one out.
//   in:  {op: "open", name, url, token}: again, elsewhere, after the server is gone
//        {op: "cut", name}: the transport breaks · {op: "report"}
//   out: {applied, repeated, misordered, late, connected}, of all devices together
import { createInterface } from "node:readline";
import { io } from "socket.io-client";

const sockets = new Map();
const applied = new Set();
const newest = new Map();
const seen = { repeated: 0, misordered: 0, late: 0 };

function apply({ id, expiresAt, targetDeviceId, payload }) {
  if (Date.now() > expiresAt) seen.late += 1;
  if (applied.has(id)) {
    seen.repeated += 1;
    return;
  }
  applied.add(id);
  const task = `${targetDeviceId} ${payload.taskId}`;
  if ((newest.get(task) ?? -1) >= payload.number) seen.misordered += 1;
  newest.set(task, payload.number);
}

const acts = {
  open({ name, url, token }) {
    sockets.get(name)?.close();
    const socket = io(url, {
      query: { clientType: "device" }, auth: { token }, forceNew: true, transports: ["websocket"],
      reconnectionDelay: 100, reconnectionDelayMax: 300,
    });
    socket.on("user_message", (command, acknowledge) => {
      apply(command);
      acknowledge({ success: true, id: command.id, status: "delivered" });
    });
    sockets.set(name, socket);
  },
  cut({ name }) {
    sockets.get(name).io.engine?.close();
  },
  report() {
    const connected = [...sockets.values()].filter((socket) => socket.connected).length;
    console.log(JSON.stringify({ applied: applied.size, connected, ...seen }));
  },
};

createInterface({ input: process.stdin }).on("line", (line) => {
  const act = JSON.parse(line);
  acts[act.op](act);
}).on("close", () => process.exit(0));
