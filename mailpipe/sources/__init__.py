"""Where mail comes from: one module a source, registered by name in `mailpipe.bundled`."""
