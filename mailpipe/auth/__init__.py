"""Who vouches for a message: DKIM (RFC 6376), ARC (RFC 8617), SPF (RFC 7208), DMARC (RFC 7489); signatures.

Nothing here asks the network: records come through a lookup that the caller gives.
"""
