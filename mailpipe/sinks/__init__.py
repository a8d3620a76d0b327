"""Where mail goes: one module a sink, registered by name in `mailpipe.bundled`."""
