"""One message in as many transactions as its recipients ask for (RFC 5321 section 4.5.3.1.8, RFC 9422), as a script.

    batches = in_batches(envelope, limit=100)
    part = next(batches)                 # an envelope of some of the recipients
    part = batches.send(result)          # how it ended; StopIteration at the end, its value the whole result

Never here: sockets, waiting, what the message holds.
"""

from collections.abc import Generator

from mailpipe.smtp.envelope import Envelope
from mailpipe.smtp.events import RecipientAnswer, TransactionResult


def in_batches(envelope: Envelope, limit: int) -> Generator[Envelope, TransactionResult, TransactionResult]:
    """The envelopes of the transactions, one after the other; ends early where a connection is lost.

    Whom the peer puts off as too many comes again at once, in another transaction.

    Args:
        envelope: from whom, to whom.
        limit: recipients of one transaction at most.

    Returns:
        The answers of all transactions, in the order of the envelope.
    """
    paths = envelope.forward_paths
    result = TransactionResult(envelope, ())
    answers: dict[int, RecipientAnswer] = {}
    pending = list(range(len(paths)))
    while pending and result.lost is None:
        batch, rest = pending[:limit], pending[limit:]
        result = yield envelope.with_forward_paths(*(paths[place] for place in batch))
        answers |= dict(zip(batch, result.answers, strict=True))
        again = [place for place in batch if answers[place].is_one_too_many] if result.accepted else []
        pending = again + rest
    whole = tuple(answers.get(place) or RecipientAnswer(path, None) for place, path in enumerate(paths))
    return TransactionResult(envelope, whole, result.lost, result.mail_reply)
