"""The order of an SMTP session as a table (RFC 5321 section 4.1.4, RFC 2033, 3207, 4954).

    is_allowed(State.READY, Mail)                      # True
    next_state(State.READY, Mail("ann@x.test"), reply) # State.MAIL where the reply is positive

It does not know which side it serves: a client asks before it sends, a server before it answers.

Never here: octets, and what a transaction means.
"""

from enum import StrEnum

from mailpipe.smtp.command import (
    Auth,
    AuthResponse,
    Bdat,
    Command,
    Data,
    Ehlo,
    EndOfData,
    Greeting,
    Helo,
    Lhlo,
    Mail,
    Noop,
    Quit,
    Rcpt,
    Rset,
    StartTls,
    Xclient,
    Xforward,
)
from mailpipe.smtp.reply import Reply


class Dialect(StrEnum):
    """SMTP answers the end of data once, LMTP once for each recipient (RFC 2033 section 4.2)."""

    SMTP = "smtp"
    LMTP = "lmtp"


class State(StrEnum):
    """Where a session stands."""

    GREETING = "greeting"  # connected, nothing said yet
    HELLO = "hello"  # greeted, or TLS begun: the client must introduce itself
    READY = "ready"  # no transaction
    MAIL = "mail"  # MAIL accepted, no recipient yet
    RCPT = "rcpt"  # at least one recipient accepted
    DATA = "data"  # 354 given: content follows
    BDAT = "bdat"  # a piece accepted, another must follow
    AUTH = "auth"  # 334 given: a response follows
    TLS = "tls"  # 220 to STARTTLS: the handshake follows
    CLOSED = "closed"


_ANYTIME = frozenset({Noop, Quit, Rset, Ehlo, Helo, Lhlo})
_ALLOWED: dict[State, frozenset[type[Command]]] = {
    State.GREETING: frozenset({Greeting}),
    State.HELLO: frozenset({Ehlo, Helo, Lhlo, Noop, Quit, Rset, Xclient}),
    State.READY: _ANYTIME | {Mail, StartTls, Auth, Xclient, Xforward},
    State.MAIL: _ANYTIME | {Rcpt},
    State.RCPT: _ANYTIME | {Rcpt, Data, Bdat},
    State.DATA: frozenset({EndOfData}),
    State.BDAT: frozenset({Bdat, Rset, Quit, Noop}),
    State.AUTH: frozenset({AuthResponse}),
    State.TLS: frozenset(),
    State.CLOSED: frozenset(),
}

# What a positive or intermediate reply leads to; a command that is not here changes nothing.
_LEADS_TO: dict[type[Command], State] = {
    Greeting: State.HELLO,
    Ehlo: State.READY,
    Helo: State.READY,
    Lhlo: State.READY,
    Mail: State.MAIL,
    Rcpt: State.RCPT,
    Data: State.DATA,
    EndOfData: State.READY,
    StartTls: State.TLS,
    Auth: State.READY,
    AuthResponse: State.READY,
    Quit: State.CLOSED,
    Xclient: State.HELLO,
}


def is_allowed(state: State, kind: type[Command]) -> bool:
    """Whether a command may be given in a state."""
    return kind in _ALLOWED[state]


def assumed_state(state: State, command: Command) -> State:
    """The state that follows if the command is accepted, which is what pipelining assumes (RFC 2920 section 3.1)."""
    if isinstance(command, Rset):
        return state if state is State.HELLO else State.READY
    if isinstance(command, Bdat):
        return State.READY if command.last else State.BDAT
    return _LEADS_TO.get(type(command), state)


def next_state(state: State, command: Command, reply: Reply) -> State:
    """The state after a command was answered."""
    if reply.code == 421:
        return State.CLOSED
    if isinstance(command, Auth | AuthResponse) and reply.code == 334:
        return State.AUTH
    if reply.is_positive or (reply.is_intermediate and isinstance(command, Data)):
        return assumed_state(state, command)
    if isinstance(command, EndOfData | Bdat | AuthResponse | Auth):
        return State.READY  # the content or the exchange is over, however it was answered
    return state
