"""From octets to spans: one scan finds headers, bodies and parts; nothing is decoded here (RFC 5322, RFC 2046)."""
