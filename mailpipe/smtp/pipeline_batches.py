"""One message in as many transactions as its recipients ask for (RFC 5321 section 4.5.3.1.8, RFC 9422), as a script.

    batches = in_batches(envelope, limit=100, most_domains=extensions.rcpt_domain_max)
    part = next(batches)                 # an envelope of some of the recipients
    part = batches.send(result)          # how it ended; StopIteration at the end, its value the whole result

Never here: sockets, waiting, what the message holds.
"""

from collections.abc import Generator, Sequence

from mailpipe.smtp.envelope import Envelope, ForwardPath
from mailpipe.smtp.events import RecipientAnswer, TransactionResult


def in_batches(
    envelope: Envelope, limit: int, most_domains: int | None = None
) -> Generator[Envelope, TransactionResult, TransactionResult]:
    """The envelopes of the transactions, one after the other; ends early where a connection is lost.

    Whom the peer puts off as too many comes again at once, in another transaction.

    Args:
        envelope: from whom, to whom.
        limit: recipients of one transaction at most.
        most_domains: domains among them at most, None for any number (RFC 9422 section 4.3).

    Returns:
        The answers of all transactions, in the order of the envelope.
    """
    paths = envelope.forward_paths
    result = TransactionResult(envelope, ())
    answers: dict[int, RecipientAnswer] = {}
    pending = list(range(len(paths)))
    while pending and result.lost is None:
        batch, rest = _batch(paths, pending, limit, most_domains)
        result = yield envelope.with_forward_paths(*(paths[place] for place in batch))
        answers |= dict(zip(batch, result.answers, strict=True))
        again = [place for place in batch if answers[place].is_one_too_many] if result.accepted else []
        pending = again + rest
    whole = tuple(answers.get(place) or RecipientAnswer(path, None) for place, path in enumerate(paths))
    return TransactionResult(envelope, whole, result.lost, result.mail_reply)


def _batch(
    paths: Sequence[ForwardPath], pending: list[int], limit: int, most_domains: int | None
) -> tuple[list[int], list[int]]:
    """Who goes in the next transaction, and who is left."""
    if most_domains is None:
        return pending[:limit], pending[limit:]
    batch: list[int] = []
    rest: list[int] = []
    domains: set[str] = set()
    for place in pending:
        domain = paths[place].address.rpartition("@")[2].lower()
        if len(batch) < limit and (domain in domains or len(domains) < most_domains):
            domains.add(domain)
            batch.append(place)
        else:
            rest.append(place)
    return batch, rest
