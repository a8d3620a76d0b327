"""The one call of a sink, and an entry for every recipient whatever it answers.

    receipt = hand_over(sink, mail)              # never raises because of what the sink does
    results = [result_of(each, sink) for each in receipt.recipients]

Never here: the journal, the queue, and what is done about a receipt; it may be called by several threads.
"""

from typing import TYPE_CHECKING, Any

from mailpipe.errors import ConnectionLost, DeliveryError, MailpipeError, MessageError, OutputError, SinkError
from mailpipe.pipeline.component import Sink
from mailpipe.pipeline.loop import LOOP_STATUS, LoopRule
from mailpipe.pipeline.mail import Mail
from mailpipe.pipeline.outcome import Fate, Receipt, RecipientReceipt
from mailpipe.smtp.envelope import ForwardPath
from mailpipe.status import EnhancedStatus

if TYPE_CHECKING:  # slow to import; most pipelines that filter have none
    from mailpipe.queue import RecipientResult

_SUCCESS, _SYSTEM = EnhancedStatus(2, 0, 0), EnhancedStatus(4, 3, 0)


def words_of(error: BaseException) -> str:
    """What an exception says, in one line."""
    if isinstance(error, MailpipeError):
        return str(error)
    return " ".join(f"{type(error).__name__}: {error}".split()).rstrip(": ")


def kind_of(value: object) -> str:
    """What something is that ought to be something else."""
    return "None" if value is None else f"a {type(value).__name__}"


def hand_over(sink: Sink[Any], mail: Mail, loops: LoopRule | None = None) -> Receipt:
    """Ask the sink; whatever it does, every recipient has its entry. Mail that goes round in circles fails."""
    paths = mail.envelope.forward_paths
    try:
        if loops is not None:
            if complaint := loops.complaint(mail):
                return Receipt.of_all(paths, Fate.FAILED, LOOP_STATUS, complaint)
            mail = loops.marked(mail)
        receipt: object = sink.deliver(mail)
    except DeliveryError as error:
        fate = Fate.FAILED if error.status.is_permanent else Fate.DEFERRED
        if isinstance(error, ConnectionLost) and error.in_doubt:
            fate = Fate.IN_DOUBT
        return Receipt.of_all(paths, fate, str(error.status), error.diagnostic)
    except MessageError as error:
        # the message cannot be said to this peer, today or tomorrow
        fate = Fate.FAILED if error.status.is_permanent else Fate.DEFERRED
        return Receipt.of_all(paths, fate, str(error.status), str(error))
    except OutputError as error:
        return Receipt.of_all(paths, Fate.DEFERRED, str(error.status), str(error))
    except (Exception, SystemExit) as error:  # noqa: BLE001 - a sink's own fault must not lose the mail
        trouble = SinkError(sink.name, words_of(error), str(mail.origin))
        return Receipt.of_all(paths, Fate.DEFERRED, str(trouble.status), str(trouble))
    if not isinstance(receipt, Receipt):
        words = f"sink {sink.name!r} returned {kind_of(receipt)} in place of a Receipt"
        return Receipt.of_all(paths, Fate.DEFERRED, "4.3.0", words)
    return _complete(paths, receipt, sink.name)


def result_of(entry: RecipientReceipt, sink: Sink[Any]) -> "RecipientResult":
    """What the queue records of a recipient's part of a receipt."""
    from mailpipe.queue import Handover, RecipientFate, RecipientResult  # see above

    fates = {Fate.DELIVERED: "delivered", Fate.FAILED: "failed", Fate.IN_DOUBT: "in-doubt"}
    fate = RecipientFate(fates.get(entry.fate, "deferred"))
    handover = entry.handover or ("relayed" if sink.needs_recipients and sink.name != "lmtp" else "final")
    return RecipientResult(entry.recipient, fate, entry.status, entry.diagnostic, Handover(handover))


def _complete(paths: tuple[ForwardPath, ...], receipt: Receipt, sink: str) -> Receipt:
    if len(receipt.recipients) == max(1, len(paths)):
        return receipt
    told = {entry.recipient.address: entry for entry in receipt.recipients}
    missing = f"sink {sink!r} said nothing about this recipient"
    entries = tuple(
        told.get(path.address) or RecipientReceipt(path, Fate.DEFERRED, _SYSTEM, missing)
        for path in paths or (ForwardPath(""),)
    )
    return Receipt(entries, receipt.reference)


def joined(paths: tuple[ForwardPath, ...], receipt: Receipt) -> Receipt:
    """The receipt with the recipients that an earlier run had settled, in the order of the envelope."""
    told = {entry.recipient.address: entry for entry in receipt.recipients}
    entries = tuple(
        told.get(path.address) or RecipientReceipt(path, Fate.DELIVERED, _SUCCESS, "settled by an earlier run")
        for path in paths
    )
    return Receipt(entries, receipt.reference)
