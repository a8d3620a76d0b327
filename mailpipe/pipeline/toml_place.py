"""Where in a TOML text each key and each value of a list stands (TOML 1.0).

    places = places_of(text)
    places[("stage", 0, "directory")]        # (12, 1): line and column, from 1

The standard library's parser says what a text means but not where; this scan says where and nothing else. It is only
asked about text that the parser has accepted, so it checks nothing.

Never here: what a key means.
"""

import re

KeyPath = tuple[str | int, ...]

_SPACE = re.compile(r"(?>(?:[ \t\r\n]++|#[^\n]*+)*)")
_BLANK = re.compile(r"[ \t]*+")
_BARE = re.compile(r"[A-Za-z0-9_-]++")
_SCALAR = re.compile(r"[^,\]}\r\n#]*+")
_BASIC = re.compile(r'"(?>(?:[^"\\\n]|\\.)*)"')
_LITERAL = re.compile(r"'[^'\n]*+'")
_LONG_BASIC = re.compile(r'"""(?>(?:[^"\\]|\\[\s\S]|"(?!""))*)"{3,5}')
_LONG_LITERAL = re.compile(r"'''(?>(?:[^']|'(?!''))*)'{3,5}")


def places_of(text: str) -> dict[KeyPath, tuple[int, int]]:
    """Line and column of each table, key and list value, by its path; list positions count from 0."""
    return _Scan(text).run()


def dotted(path: KeyPath) -> str:
    """A path as people read it, list positions from 1: "stage.2.use"."""
    return ".".join(str(step + 1) if isinstance(step, int) else step for step in path)


def path_of(key: str) -> KeyPath:
    """The path that `dotted` wrote; no name in it has a dot or is a number."""
    return tuple(int(step) - 1 if step.isdecimal() else step for step in key.split("."))


class _Scan:
    def __init__(self, text: str) -> None:
        self.text, self.at = text, 0
        self.found: dict[KeyPath, int] = {}
        self.counts: dict[KeyPath, int] = {}

    def run(self) -> dict[KeyPath, tuple[int, int]]:
        table: KeyPath = ()
        while following := self._skip(_SPACE):
            if following == "[":
                table = self._table()
            else:
                self._pair(table)
        return self._lines()

    def _skip(self, pattern: re.Pattern[str]) -> str:
        """Move past what the pattern matches and show the next character, "" at the end."""
        if match := pattern.match(self.text, self.at):
            self.at = match.end()
        return self.text[self.at : self.at + 1]

    def _lines(self) -> dict[KeyPath, tuple[int, int]]:
        places, line, start = {}, 1, 0
        for path, offset in sorted(self.found.items(), key=lambda item: item[1]):
            while -1 < (end := self.text.find("\n", start)) < offset:
                line, start = line + 1, end + 1
            places[path] = (line, offset - start + 1)
        return places

    def _table(self) -> KeyPath:
        start, is_list = self.at, self.text.startswith("[[", self.at)
        self.at += 2 if is_list else 1
        names = self._key()
        table: KeyPath = ()
        for number, name in enumerate(names, 1):
            table = (*table, name)
            if number == len(names) and is_list:
                self.counts[table] = self.counts.get(table, -1) + 1
            self.found.setdefault(table, start)
            if table in self.counts:
                table = (*table, self.counts[table])
        self.found.setdefault(table, start)
        self._skip(_BLANK)
        self.at += 2 if is_list else 1
        return table

    def _key(self) -> list[str]:
        names = []
        while True:
            self._skip(_BLANK)
            start = self.at
            for pattern in (_BASIC, _LITERAL, _BARE):
                if match := pattern.match(self.text, start):
                    self.at = match.end()
                    names.append(match[0] if pattern is _BARE else match[0][1:-1])
                    break
            if self._skip(_BLANK) != "." or self.at == start:
                return names
            self.at += 1

    def _pair(self, table: KeyPath) -> None:
        start = self.at
        path = table
        for name in self._key():
            path = (*path, name)
            self.found.setdefault(path, start)
        self.at += self._skip(_BLANK) == "="
        self._skip(_BLANK)
        self._value(path)
        if self.at == start:  # not TOML after all; never stand still
            self.at += 1

    def _value(self, path: KeyPath) -> None:
        first = self.text[self.at : self.at + 1]
        if first == "[":
            self._list(path)
        elif first == "{":
            self._inline_table(path)
        else:
            patterns = {'"': (_LONG_BASIC, _BASIC), "'": (_LONG_LITERAL, _LITERAL)}.get(first, ())
            for pattern in (*patterns, _SCALAR):
                if match := pattern.match(self.text, self.at):
                    self.at = match.end()
                    return

    def _list(self, path: KeyPath) -> None:
        self.at += 1
        number = 0
        while self._skip(_SPACE) not in ("", "]"):
            before = self.at
            self.found.setdefault((*path, number), self.at)
            self._value((*path, number))
            self.at += self._skip(_SPACE) == ","
            number += 1
            if self.at == before:
                self.at += 1
        self.at += 1

    def _inline_table(self, path: KeyPath) -> None:
        self.at += 1
        while self._skip(_SPACE) not in ("", "}"):
            self._pair(path)
            self.at += self._skip(_SPACE) == ","
        self.at += 1
