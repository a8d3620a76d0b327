"""The script of a scripted peer: what goes wrong at which step, and the record of what was taken.

    Fault("RCPT", "reply", "550 5.1.1 no such user", match="bob")      # refuses Bob
    Fault("dot", "drop", accept=True, times=1)                         # keeps one message and does not say so
    Fault("MAIL", "reset", chance=0.05)                                # one time in twenty

Never here: sockets; the peer that plays the script is `mailpipe.testing.peer`.
"""

from dataclasses import dataclass

from mailpipe.smtp.envelope import Parameters


@dataclass(frozen=True, slots=True)
class Fault:
    """One misbehaviour.

    Attributes:
        at: the step: a verb in capitals, "connect", "handshake", "content" or "dot".
        do: what happens there; the list is in `mailpipe.testing.peer`.
        text: the reply of "reply", "reply-drop" and "reply-reset", and what "inject" adds; code first, several lines
            are separated by a line feed.
        match: only for commands whose line contains this; for "dot" and "content": whose MAIL line does.
        nth: only the nth time that the step occurs, from 1; 0 every time.
        times: at most so often; 0 without end.
        accept: at "dot": the message is kept although the client is not told.
        recipient: at "dot" in LMTP: only the reply of the nth recipient, from 1; 0 all.
        seconds: the pause of "slow" between two octets.
        chance: how likely it happens where it could, from 0 to 1; drawn from the peer's own seed.
    """

    at: str
    do: str = "reply"
    text: str = ""
    match: str = ""
    nth: int = 0
    times: int = 0
    accept: bool = False
    recipient: int = 0
    seconds: float = 0.1
    chance: float = 1.0


@dataclass(frozen=True, slots=True)
class Taken:
    """One transaction that was kept.

    Attributes:
        session: the connection's number, from 1.
        reverse_path: address-spec.
        forward_paths: the recipients for whom it was kept.
        parameters: of the MAIL command.
        octets: the message without transparency.
        acknowledged: the client was told.
        encrypted: it came over TLS.
    """

    session: int
    reverse_path: str
    forward_paths: tuple[str, ...]
    parameters: Parameters
    octets: bytes
    acknowledged: bool = True
    encrypted: bool = False
