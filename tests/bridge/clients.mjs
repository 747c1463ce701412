// Socket.IO clients that a test drives: one JSON object a line in, one out.
//   in:  {op: "open", name, url, query, headers, options, acks} · {op: "emit", name, event, args, ask}
//        {op: "cut", name}: the transport breaks · {op: "close", name}
//   out: {name, event, args}, with events "connect", "connect_error", "disconnect", "answer" and
//        whatever the server emits.
import { createInterface } from "node:readline";
import { io } from "socket.io-client";

const clients = new Map();
const tell = (name, event, args) => console.log(JSON.stringify({ name, event, args }));

// How what is to be acknowledged is answered, as a device does.
const answers = {
  ok: ({ id }) => ({ success: true, id, status: "delivered" }),
  refuse: ({ id }) => ({ success: false, id, status: "rejected", error: "no such folder" }),
};

const acts = {
  open({ name, url, query, headers, options, acks }) {
    const socket = io(url, {
      query, extraHeaders: headers, forceNew: true, transports: ["websocket", "polling"],
      reconnectionDelay: 200, reconnectionDelayMax: 500, ...options,
    });
    clients.set(name, socket);
    socket.io.on("open", () => {
      socket.io.engine.on("upgrade", (transport) => tell(name, "upgrade", [transport.name]));
    });
    socket.on("connect", () => tell(name, "connect", [socket.id, socket.io.engine.transport.name]));
    socket.on("connect_error", (error) => tell(name, "connect_error", [error.message]));
    socket.on("disconnect", (reason) => tell(name, "disconnect", [reason]));
    socket.onAny((event, ...args) => {
      const answer = typeof args.at(-1) === "function" ? args.pop() : null;
      tell(name, event, args);
      if (answer && answers[acks]) answer(answers[acks](args[0]));
    });
  },
  emit({ name, event, args, ask }) {
    const answer = (...given) => tell(name, "answer", [ask, ...given]);
    clients.get(name).emit(event, ...args, ...(ask ? [answer] : []));
  },
  cut({ name }) {
    clients.get(name).io.engine.close();
  },
  close({ name }) {
    clients.get(name).close();
  },
};

createInterface({ input: process.stdin }).on("line", (line) => {
  const act = JSON.parse(line);
  acts[act.op](act);
}).on("close", () => process.exit(0));
