// Reference bridge on node's own Socket.IO server: rooms, nothing else. node sio_reference.cjs PORT
// NODE_PATH must hold socket.io (and ws). REDIS=redis://127.0.0.1:PORT adds @socket.io/redis-adapter.
const { createServer } = require('http')
const { Server } = require('socket.io')
const http = createServer()
const io = new Server(http, { transports: ['websocket', 'polling'], pingInterval: 25000, perMessageDeflate: false })
io.on('connection', (s) => {
  s.on('extension:register', (d, ack) => { s.join('inst:' + d.instanceId); ack && ack({ success: true }) })
  s.on('task:join', (d, ack) => { s.join('task:' + d.taskId); ack && ack({ success: true, taskId: d.taskId }) })
  s.on('task:event', (d) => s.to('task:' + d.taskId).emit('task:relayed_event', d))
  s.on('task:command', (d) => s.to('task:' + d.taskId).emit('task:relayed_command', d))
})
async function main () {
  if (process.env.REDIS) {
    const { createClient } = require('redis')
    const { createAdapter } = require('@socket.io/redis-adapter')
    const pub = createClient({ url: process.env.REDIS }); const sub = pub.duplicate()
    await Promise.all([pub.connect(), sub.connect()])
    io.adapter(createAdapter(pub, sub))
  }
  http.listen(Number(process.argv[2] || 9300), '127.0.0.1')
}
main()
