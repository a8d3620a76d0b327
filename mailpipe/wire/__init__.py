"""Octets without meaning: terminals of the grammar, folding (RFC 5234, 5322 2)."""
