"""The test kit for plugin authors: readable mails, and the contract of each kind of component as tests to inherit."""

from mailpipe.testing.peer import ScriptedPeer
from mailpipe.testing.script import Fault, Taken

__all__ = ["Fault", "ScriptedPeer", "Taken"]
