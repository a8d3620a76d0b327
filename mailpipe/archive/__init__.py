"""Archives: many messages in one place. The formats that sources read and sinks write: mbox and Maildir."""
