"""Remote control of running editors. What it will hold is in protocol order: the Socket.IO server,
presence, relays, devices and the command queue."""
