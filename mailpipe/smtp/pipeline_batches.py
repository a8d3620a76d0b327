"""One message in as many transactions as its recipients ask for (RFC 5321 section 4.5.3.1.8, RFC 9422), as a script.

    batches = in_batches(envelope, limit=100, most_domains=extensions.rcpt_domain_max)
    part = next(batches)                 # an envelope of some of the recipients
    part = batches.send(result)          # how it ended; StopIteration at the end, its value the whole result

Never here: sockets, waiting, what the message holds.
"""

from collections.abc import Collection, Generator, Sequence

from mailpipe.smtp.envelope import Envelope, ForwardPath
from mailpipe.smtp.events import RecipientAnswer, TransactionResult
from mailpipe.smtp.extension import Extensions


def in_batches(
    envelope: Envelope, limit: int, most_domains: int | None = None
) -> Generator[Envelope, TransactionResult, TransactionResult]:
    """The envelopes of the transactions, one after the other; ends early where a connection is lost.

    Whom the peer puts off as too many comes again at once, in another transaction.

    Args:
        envelope: from whom, to whom.
        limit: recipients of one transaction at most.
        most_domains: domains among them at most, None for any number (RFC 9422 section 4.3). It holds for a whole
            session: whoever plays this begins another one where `exceeds` says so.

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


def domains_of(envelope: Envelope) -> frozenset[str]:
    """The recipients' domains."""
    return frozenset(path.address.rpartition("@")[2].lower() for path in envelope.forward_paths)


def exceeds(extensions: Extensions, transactions: int, domains: Collection[str], envelope: Envelope) -> bool:
    """Whether a session has carried too much to carry one more transaction (RFC 9422 sections 4.1 and 4.3).

    Args:
        extensions: what the peer offers.
        transactions: how many there were; a session without any may always carry one.
        domains: of their recipients.
        envelope: of the next.
    """
    if transactions == 0:
        return False
    if extensions.mail_max is not None and transactions >= extensions.mail_max:
        return True
    most = extensions.rcpt_domain_max
    return most is not None and len(domains_of(envelope).union(domains)) > most


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
