"""A stage that files: PDF attachments go into folders by sender and month, and a manifest says where each came from.

    [[stage]]
    use       = "invoice-filer"
    directory = "invoices"
    senders   = ["*@supplier.example", "billing@*"]

The mail itself goes on as it came, and only when every file, its folder and its line of the manifest are on disk. The
same mail filed again, after a crash or a retry, is the same files and no second line; several workers may share the
directory.

Copy this file into the folder `plugins/` beside a pipeline file, or install the folder that it came in.
"""

import fcntl
import fnmatch
import hashlib
import json
import os
import re
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import mailpipe
from mailpipe import Access, Entity, Mail, Message
from mailpipe.errors import OutputError

MOST = 100
"""LIMIT: files of one message; more is a nuisance, not an invoice."""
LONGEST = 120
"""LIMIT: octets of a name; file systems allow 255, and a digest may be put in."""
PROBE = 1024
"""Octets in which a PDF must say that it is one (ISO 32000-1, annex H.3, implementation note 13)."""


@dataclass(frozen=True, slots=True)
class InvoiceFiled:
    """A note: a PDF was filed.

    Attributes:
        part: its path in the message, "2".
        file: where it lies, from the directory.
        sha256: of its content, in hexadecimal.
        size: octets.
    """

    part: str
    file: str
    sha256: str
    size: int


class InvoiceFilerOptions(mailpipe.Options):
    """Whose PDF files go where."""

    directory: mailpipe.LocalPath
    """Where the folders are made; a relative path is taken from that of the pipeline file."""

    senders: tuple[str, ...] = ("*",)
    """Whose mail is filed: addresses of From, with wildcards; capitals do not matter."""

    manifest: mailpipe.LocalPath | None = None
    """The JSON Lines file with a line for each file; by default manifest.jsonl in the directory."""


class InvoiceFiler(mailpipe.Stage[InvoiceFilerOptions]):
    """Files PDF attachments in folders by sender and month, with a manifest; the mail goes on as it came."""

    name = "invoice-filer"
    Options = InvoiceFilerOptions
    acts = True
    reads = Access(fields=("From", "Date", "Subject", "Message-ID"), body=True, envelope=True)
    touches = Access(notes=(InvoiceFiled,))
    decides = ()

    def open(self, services: mailpipe.Services) -> None:
        """Make the directory, and learn what the manifest holds."""
        self._services = services
        directory = self.options.directory
        with _as_output_error(directory):
            _make_folder(directory)
            self._manifest = Manifest(self.options.manifest or directory / "manifest.jsonl")

    def close(self) -> None:
        """Close the manifest."""
        if hasattr(self, "_manifest"):
            self._manifest.close()

    def process(self, mail: Mail) -> Mail:
        """File what is to be filed."""
        sender = _sender_of(mail)
        if not any(fnmatch.fnmatchcase(sender.lower(), each.lower()) for each in self.options.senders):
            return mail
        notes: list[InvoiceFiled] = []
        for path, entity, octets in _pdf_parts(mail.message):
            if len(notes) == MOST:
                self._services.log.warning("more than %d PDF files; the others are not filed", MOST)
                break
            with _as_output_error(self.options.directory):
                notes.append(self._file(mail.message, sender, path, entity, octets))
        self._services.metrics.count("filed", len(notes))
        return mail.with_note(*notes) if notes else mail

    def _file(self, message: Message, sender: str, part: str, entity: Entity, octets: bytes) -> InvoiceFiled:
        date = message.date
        # not the clock: the same mail has to find the same folder tomorrow
        month = f"{date.year:04}-{date.month:02}" if date is not None else "undated"
        folder = self.options.directory / folder_name(sender) / month
        _make_folder(folder)
        digest = hashlib.sha256(octets).hexdigest()
        file = _save(folder, file_name(entity.filename), octets, digest)
        relative = file.relative_to(self.options.directory).as_posix()
        self._manifest.add({
            "file": relative, "sha256": digest, "size": len(octets), "sender": sender, "part": part,
            "date": date.isoformat() if date is not None else None, "subject": message.subject,
            "message_id": message.message_id, "name": entity.filename,
        })  # fmt: skip
        return InvoiceFiled(part, relative, digest, len(octets))


def register(registry: mailpipe.Registry) -> None:
    """Enter the stage; called by mailpipe."""
    registry.add_stage(InvoiceFiler)


# -- what is filed


def _sender_of(mail: Mail) -> str:
    mailboxes = mail.message.from_.mailboxes
    return mailboxes[0].address if mailboxes else mail.envelope.reverse_path


def _pdf_parts(message: Message) -> Iterator[tuple[str, Entity, bytes]]:
    """What says that it is a PDF and has one's beginning; a program that is called invoice.pdf is none."""
    for path, entity in message.walk():
        if entity.parts or entity.is_multipart:
            continue
        kind, name = entity.content_type.value, (entity.filename or "").lower()
        if kind in ("application/pdf", "application/x-pdf") or name.endswith(".pdf"):
            octets = entity.octets
            if b"%PDF-" in octets[:PROBE]:
                yield path or "1", entity, octets


# -- names that a sender chose, made safe


def folder_name(sender: str) -> str:
    """The folder of a sender; two senders never share one.

    >>> folder_name("Billing@Supplier.example"), folder_name("")
    ('billing@supplier.example', 'unknown-sender')
    """
    address = sender.lower()
    if not address:
        return "unknown-sender"
    name = re.sub(r"[^a-z0-9@._+-]", "_", address).lstrip(".-")[:LONGEST]
    if name == address:
        return name
    return f"{name}-{hashlib.sha256(address.encode('utf-8', 'surrogatepass')).hexdigest()[:12]}"


def file_name(suggested: str | None) -> str:
    r"""The name of a file: no folders, no control characters, always ".pdf".

    >>> file_name("../../etc/Invoice 7.PDF"), file_name("C:\\x\\a.pdf.exe"), file_name(None)
    ('Invoice 7.pdf', 'a.pdf.exe.pdf', 'invoice.pdf')
    """
    text = unicodedata.normalize("NFC", suggested or "").replace("\\", "/").rpartition("/")[2]
    # C…: control, format (right-to-left overrides), surrogates, private, unassigned
    text = "".join("" if unicodedata.category(one)[0] == "C" else "_" if one in '<>:"|?*' else one for one in text)
    stem = re.sub(r"\.pdf\Z", "", text.strip(), flags=re.IGNORECASE).strip(" .").lstrip("-")
    stem = stem.encode()[:LONGEST].decode("utf-8", "ignore").rstrip(" .")
    if re.fullmatch(r"(?i:con|prn|aux|nul|com\d|lpt\d)", stem.partition(".")[0]):  # devices, where Windows looks
        stem = f"_{stem}"
    return f"{stem or 'invoice'}.pdf"


# -- the disk


@contextmanager
def _as_output_error(path: Path) -> Iterator[None]:
    """Trouble with the disk defers the mail, and says what to do."""
    try:
        yield
    except OSError as error:
        raise OutputError.from_os(str(error.filename or path), error) from error


def _make_folder(path: Path) -> None:
    """Make a folder and those above it, each with its name on disk."""
    if not path.is_dir():
        _make_folder(path.parent)
        path.mkdir(exist_ok=True)  # another worker may have been first
        _sync_folder(path.parent)


def _sync_folder(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _save(folder: Path, name: str, octets: bytes, digest: str) -> Path:
    """Write a file under its name, or with its digest where other content has that; a name has all octets or none."""
    for candidate in (name, f"{name[:-4]}-{digest[:12]}.pdf", f"{digest}.pdf"):
        path = folder / candidate
        if _holds(path, octets):
            _sync_folder(folder)  # whoever wrote it may have been killed before he did
            return path
        temporary = folder / f".{digest[:12]}.{os.getpid()}.part"
        try:
            with temporary.open("wb") as file:
                file.write(octets)
                file.flush()
                os.fsync(file.fileno())
            with suppress(FileExistsError):
                os.link(temporary, path)  # never over another file
                _sync_folder(folder)
                return path
        finally:
            temporary.unlink(missing_ok=True)
        if _holds(path, octets):  # another worker, meanwhile
            _sync_folder(folder)
            return path
    raise OutputError(str(folder / f"{digest}.pdf"), "another file has that name; move it away")


def _holds(path: Path, octets: bytes) -> bool:
    try:
        return path.stat().st_size == len(octets) and path.read_bytes() == octets
    except FileNotFoundError:
        return False


class Manifest:
    """JSON Lines that are appended one by one, each once, by any number of processes."""

    def __init__(self, path: Path) -> None:
        """Open the file, or make it.

        Raises:
            OSError: it cannot be opened.
        """
        _make_folder(path.parent)
        self._file = path.open("a+b")
        self._known: set[bytes] = set()
        self._seen = 0

    def add(self, entry: dict[str, object]) -> None:
        """Append an entry that is not there yet, and wait for the disk.

        Raises:
            OSError: it cannot be written.
        """
        line = json.dumps(entry, ensure_ascii=True, sort_keys=True).encode() + b"\n"
        fcntl.flock(self._file, fcntl.LOCK_EX)
        try:
            is_torn = self._learn()
            if _mark(line) not in self._known:
                self._file.write(b"\n" + line if is_torn else line)
                self._file.flush()
            os.fsync(self._file.fileno())
        finally:
            fcntl.flock(self._file, fcntl.LOCK_UN)

    def _learn(self) -> bool:
        """Read what was appended since the last time; whether the last line was cut off by a crash."""
        self._file.seek(self._seen)
        for line in self._file:
            if not line.endswith(b"\n"):
                return True
            self._known.add(_mark(line))
            self._seen += len(line)
        return False

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def _mark(line: bytes) -> bytes:
    return hashlib.blake2b(line, digest_size=16).digest()
