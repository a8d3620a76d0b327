"""What a stage declares about itself: what it reads, what it touches, what it may cost.

    class TagSubject(Stage[TagSubjectOptions]):
        reads = Access(fields=("Subject",))
        touches = Access(fields=("Subject",))
        budget = Budget(time=5)

`mailpipe check` reasons with it (an edit after signing, a note read before it is written), the reference shows it, and
`mailpipe try` and the test kit hold a stage to it.

Never here: who keeps a stage to its budget; see `isolation`.
"""

from dataclasses import dataclass, fields
from typing import Self


@dataclass(frozen=True, slots=True)
class Access:
    """Parts of a mail.

    Attributes:
        fields: names of header fields of the message, "*" for any.
        body: anything below the header of the message.
        envelope: the sender or the recipients.
        notes: types of notes.
    """

    fields: tuple[str, ...] = ()
    body: bool = False
    envelope: bool = False
    notes: tuple[type, ...] = ()

    def __or__(self, other: Self) -> "Access":
        return Access(
            tuple(dict.fromkeys(self.fields + other.fields)),
            self.body or other.body,
            self.envelope or other.envelope,
            tuple(dict.fromkeys(self.notes + other.notes)),
        )

    def has_field(self, name: str) -> bool:
        """Whether a field of that name is meant; capitals do not matter.

        >>> Access(fields=("Subject",)).has_field("SUBJECT")
        True
        """
        folded = name.casefold()
        return any(each == "*" or each.casefold() == folded for each in self.fields)

    @property
    def message(self) -> bool:
        """Whether any octet of the message is meant."""
        return bool(self.fields) or self.body

    def __str__(self) -> str:
        words = ["every field" if "*" in self.fields else ", ".join(self.fields)]
        words += ["body"] * self.body + ["envelope"] * self.envelope
        words += [f"note {kind.__name__}" for kind in self.notes]
        return ", ".join(word for word in words if word) or "nothing"


NOTHING = Access()
EVERYTHING = Access(fields=("*",), body=True, envelope=True)
"""What a stage that declares nothing may do."""


@dataclass(frozen=True, slots=True)
class Budget:
    """What one mail may cost at a stage; None is no bound.

    Attributes:
        time: seconds.
        memory: octets of address space beyond what the process needs for itself.
        expansion: how many times as large the message may become.
    """

    time: float | None = None
    memory: int | None = None
    expansion: float | None = None

    def over(self, other: "Budget") -> "Budget":
        """This one, and where it says nothing the other.

        >>> Budget(time=1).over(Budget(time=5, memory=1000))
        Budget(time=1, memory=1000, expansion=None)
        """
        mine = {each.name: getattr(self, each.name) for each in fields(self)}
        return Budget(**{name: getattr(other, name) if value is None else value for name, value in mine.items()})
