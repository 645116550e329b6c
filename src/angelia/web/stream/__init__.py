"""Live streams: WebSocket, server-sent events, and reading after a cursor."""
