"""What a pipeline file says that is possible and hardly meant: the static check.

    for finding in findings_of(settings, registry):
        print(finding.place, finding.code, finding.message, finding.remedy)

It reasons with what stages declare: what they read and touch, which decisions they take, whether they sign. Each way
is walked in the order in which mail takes it; at a route that is known which is known at every place that leads there.

Never here: what makes a file unusable; that is refused when it is read.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from mailpipe.pipeline.access import Access
from mailpipe.pipeline.component import Stage
from mailpipe.pipeline.notes import AuthResult
from mailpipe.pipeline.registry import Registry, nearest
from mailpipe.pipeline.tables import RouteSettings, Settings, Use
from mailpipe.pipeline.toml_place import KeyPath, path_of, places_of
from mailpipe.pipeline.verdict import Decision

CODES: dict[str, str] = {
    "unreachable-stage": "no mail comes to the stage",
    "unreachable-route": "nothing leads into the route",
    "edit-after-signing": "a stage may change what an earlier one has signed",
    "reject-in-batch": "a stage rejects mail of an archive, whose senders do not wait for an answer",
    "note-read-before-written": "a note is asked for that no earlier stage leaves",
    "not-parallel": "several workers would each have their own of a stage that counts across mails",
    "never-met": "a condition holds for no mail",
    "unknown-code": "[check] allow names a finding that there is not",
}
"""Code → what it means."""

_CHECKED_BY = {"spf": "spf", "dkim": "dkim-verify", "dmarc": "dmarc", "arc": "arc-verify"}


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is hardly meant.

    Attributes:
        code: of `CODES`.
        key: dotted: "stage.3", "route.spam.stage.1.when".
        file: the pipeline file as it was given.
        line, column: from 1.
        message: one sentence.
        remedy: what to do about it.
    """

    code: str
    key: str
    file: str
    line: int
    column: int
    message: str
    remedy: str

    @property
    def place(self) -> str:
        """Such as "pipeline.toml:12:1"."""
        return f"{self.file}:{self.line}:{self.column}"

    def __str__(self) -> str:
        return f"{self.place}: {self.key}: {self.message} [{self.code}]; {self.remedy}"


@dataclass(frozen=True, slots=True)
class _Known:
    """What is known about mail that has come to a place.

    Attributes:
        comes: whether any mail does.
        why: what ended it where none does.
        notes: types of notes that every mail may have got.
        checked: methods whose results are among them.
        signed: the step that signed it, "" for none.
    """

    comes: bool = True
    why: str = ""
    notes: frozenset[type] = frozenset()
    checked: frozenset[str] = frozenset()
    signed: str = ""

    def either(self, other: "_Known | None") -> "_Known":
        """What is known where mail comes from two places."""
        if other is None or not other.comes:
            return self
        if not self.comes:
            return other
        notes, checked = self.notes & other.notes, self.checked & other.checked
        return replace(self, notes=notes, checked=checked, signed=self.signed or other.signed)


@dataclass(slots=True)
class _Walk:
    settings: Settings
    registry: Registry
    found: list[Finding] = field(default_factory=list)
    entered: dict[str, _Known] = field(default_factory=dict)

    def run(self) -> list[Finding]:
        places = places_of(self.settings.text.replace("\r\n", "\n"))
        self._way(self.settings.stages, _Known())
        for route in _in_order(self.settings.routes):
            known = self.entered.get(route.name)
            if known is None:
                self._find("unreachable-route", f"route.{route.name}", f"nothing leads into the route {route.name!r}",
                           f'lead into it by goto = "{route.name}" on a stage, or remove it')  # fmt: skip
            self._way(route.stages, known or _Known())
        self._workers()
        self._allowed()
        allowed = set(self.settings.check.allow)
        placed = [self._placed(each, places) for each in self.found if each.code not in allowed]
        return sorted(placed, key=lambda each: (each.line, each.column))

    def _find(self, code: str, key: str, message: str, remedy: str) -> None:
        self.found.append(Finding(code, key, str(self.settings.file), 1, 1, message, remedy))

    def _placed(self, finding: Finding, places: dict[KeyPath, tuple[int, int]]) -> Finding:
        path = path_of(finding.key)
        for length in range(len(path), 0, -1):
            if place := places.get(path[:length]):
                return replace(finding, line=place[0], column=place[1])
        return finding

    def _way(self, stages: tuple[Use, ...], known: _Known) -> None:
        told = False
        for use in stages:
            if not known.comes and not told:
                told = True
                self._find("unreachable-stage", use.key, f"no mail comes to {use.label!r}: {known.why}",
                           "give what stands before it a condition (when), or remove one of the two")  # fmt: skip
            known = self._step(use, known)

    def _step(self, use: Use, known: _Known) -> _Known:
        if use.condition is not None:
            self._condition(use, known)
        for _, name in use.ways():
            self.entered[name] = known.either(self.entered.get(name))
        is_for_all = use.condition is None
        if use.step.goto is not None and is_for_all:
            return replace(known, comes=False, why=f"every mail takes the route {use.step.goto!r}")
        if not use.use:
            return known
        stage = self.registry.stage(use.use)
        reads, touches = stage.accesses(use.options)
        self._stage(use, stage, reads, touches, known)
        if is_for_all and stage.always_decides:
            return replace(known, comes=False, why=f"{use.label!r} ends the way of every mail")
        signed = use.label if stage.signs else known.signed
        checked = {method for method, name in _CHECKED_BY.items() if name == use.use}
        if AuthResult in touches.notes and use.use not in _CHECKED_BY.values():
            checked = set(_CHECKED_BY)  # a plugin may check anything
        notes = known.notes | set(touches.notes)
        return replace(known, notes=notes, checked=known.checked | checked, signed=signed)

    def _stage(self, use: Use, stage: type[Stage[Any]], reads: Access, touches: Access, known: _Known) -> None:
        if known.signed and touches.message and not stage.signs and use.step.on_broken_signature is None:
            self._find("edit-after-signing", use.key,
                       f"{use.label!r} may change what {known.signed!r} has signed ({touches})",
                       "put it before the signing stage, or say with on_broken_signature what is to happen")
        if missing := [kind for kind in reads.notes if kind not in known.notes]:
            self._find("note-read-before-written", use.key,
                       f"{use.label!r} asks for the note {missing[0].__name__}, which no earlier stage leaves",
                       "put the stage that leaves it before this one")  # fmt: skip
        if self.settings.source is not None and _rejects(stage, use):
            self._find("reject-in-batch", use.key,
                       f"{use.label!r} may reject mail that comes from an archive",
                       "quarantine it, or drop it; nobody is told of a rejection")  # fmt: skip

    def _condition(self, use: Use, known: _Known) -> None:
        for one in use.condition.each():
            if one.sample == 0:
                self._find("never-met", f"{use.key}.when", "sample = 0 holds for no mail", "give a share above 0")
            asked = {method for method in _CHECKED_BY if getattr(one, method) is not None}
            if one.authentication is not None and one.authentication.by is None:
                asked.add(one.authentication.method)
            for method in sorted(asked - known.checked):
                stage = _CHECKED_BY.get(method, method)
                self._find("note-read-before-written", f"{use.key}.when",
                           f"the condition asks for the result of {method}, which no earlier stage checks",
                           f'put [[stage]] use = "{stage}" before it')  # fmt: skip
            if one.note is not None:
                self._note(use, one.note.name.partition(".")[0], known)

    def _note(self, use: Use, name: str, known: _Known) -> None:
        from mailpipe.pipeline.rules.subjects import note_name  # slow to import, and already there where it is needed

        names = {note_name(kind) for kind in known.notes}
        if name not in names:
            near = nearest(name, tuple(sorted(names)))
            remedy = f"did you mean {near!r}?" if near else "put the stage that leaves it before this one"
            self._find("note-read-before-written", f"{use.key}.when",
                       f"the condition asks for the note {name!r}, which no earlier stage leaves", remedy)  # fmt: skip

    def _workers(self) -> None:
        if self.settings.run.workers == 1:
            return
        for use in self.settings.every_stage():
            if use.use and not self.registry.stage(use.use).may_be_parallel(use.options):
                self._find("not-parallel", use.key,
                           f"{use.label!r} counts across mails, and each of the {self.settings.run.workers} workers "
                           "would have its own count", "set [run] workers = 1")  # fmt: skip

    def _allowed(self) -> None:
        for code in self.settings.check.allow:
            if code not in CODES:
                near = nearest(code, tuple(CODES))
                self._find("unknown-code", "check.allow", f"there is no finding {code!r}",
                           f"did you mean {near!r}?" if near else f"there are: {', '.join(CODES)}")  # fmt: skip


def _rejects(stage: type[Stage[Any]], use: Use) -> bool:
    """Whether it rejects because somebody asked for that, and not in a rare case by default."""
    if Decision.REJECT not in (stage.decisions(use.options) or ()):
        return False
    chosen = (getattr(use.options, name) for name in use.options.model_fields_set)
    return Decision.REJECT in (stage.decides or ()) or Decision.REJECT in chosen


def _in_order(routes: dict[str, RouteSettings]) -> Iterator[RouteSettings]:
    """The routes, each behind all those that lead into it; none leads back to itself."""
    leads: dict[str, set[str]] = {name: set() for name in routes}
    for name, route in routes.items():
        for use in route.stages:
            for _, target in use.ways():
                leads[target].add(name)
    done: set[str] = set()
    while len(done) < len(routes):
        ready = [name for name in routes if name not in done and leads[name] <= done]
        for name in ready:
            done.add(name)
            yield routes[name]


def findings_of(settings: Settings, registry: Registry) -> list[Finding]:
    """Everything that is hardly meant, in the order of the file.

    Raises:
        PluginError: a stage cannot be imported.
    """
    return _Walk(settings, registry).run()
