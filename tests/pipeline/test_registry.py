"""The door: what is let in, and what is told to what is not."""

import pytest

from mailpipe.errors import PluginError, UnknownComponent
from mailpipe.pipeline.component import Options, Sink, Source, Stage
from mailpipe.pipeline.registry import Registry, nearest


class Good(Stage[Options]):
    """Passes everything on.

    And nothing else.
    """

    name = "good-stage"

    def process(self, mail):
        return mail


def stage(**members):
    """A stage class like Good with some members changed."""
    return type("Changed", (Good,), {"__doc__": "It does something.", **members})


def test_a_good_stage_is_found_by_its_name_with_its_origin_and_first_line():
    registry = Registry()
    with registry.coming_from("a-plugin 1.0"):
        registry.add_stage(Good)
    assert registry.stage("good-stage") is Good
    entry = registry.entry("stage", "good-stage")
    assert (entry.origin, entry.summary, entry.options) == ("a-plugin 1.0", "Passes everything on.", Options)


class Undescribed(Options):
    """Options without words."""

    size: int = 1


@pytest.mark.parametrize(
    ("component", "reason"),
    [
        (stage(name="CamelCase"), "lower-case words joined by hyphens, such as 'camel-case'"),
        (stage(name="-x"), "lower-case words"),
        (stage(name=None), 'has no name; give the class one: name = "changed"'),
        (stage(__doc__=""), "has no docstring"),
        (stage(process=lambda self: None), "process is called as process(self, mail), but takes other parameters"),
        (stage(process=lambda self, mail, more: None), "but takes other parameters"),
        (stage(open=lambda self: None), "open is called as open(self, services), but takes other parameters"),
        (stage(__init__=lambda self: None), "__init__ is called as __init__(self, options)"),
        (stage(Options=dict), "its Options must be a class derived from mailpipe.Options"),
        (stage(Options=Undescribed), "the option 'size' has no description"),
        (object, "a stage is a class derived from mailpipe.Stage"),
        ("no class", "a stage is a class derived from mailpipe.Stage"),
    ],
)
def test_what_breaks_the_contract_is_refused_with_the_reason(component, reason):
    with pytest.raises(PluginError) as caught:
        Registry().add_stage(component)
    assert reason in caught.value.reason
    assert caught.value.origin == "this program"


def test_an_async_sink_is_refused():
    class Later(Sink[Options]):
        """Delivers at its leisure."""

        name = "later"

        async def deliver(self, mail):
            return mail

    with pytest.raises(PluginError, match="deliver is async; it must be a plain method"):
        Registry().add_sink(Later)


def test_a_missing_method_is_named():
    class Empty(Sink[Options]):
        """A sink without a method."""

        name = "empty"

    with pytest.raises(PluginError, match=r"the method deliver is missing; a sink has deliver\(self, mail\)"):
        Registry().add_sink(Empty)


def test_settle_is_checked_where_a_source_has_one():
    class Odd(Source[Options]):
        """A source with a strange settle."""

        name = "odd"

        def __iter__(self):
            return iter(())

        def settle(self):
            return None

    with pytest.raises(PluginError, match="settle is called as"):
        Registry().add_source(Odd)


def test_a_name_is_taken_once_for_each_kind():
    registry = Registry()
    registry.add_stage(Good)
    with pytest.raises(PluginError, match="there is a stage of that name already, from this program"):
        registry.add_stage(stage(name="good-stage"))
    registry.add_lazy("sink", "good-stage", "nowhere:Sink")


def test_an_unknown_name_is_told_the_nearest():
    registry = Registry()
    registry.add_stage(stage(name="extract-attachments"))
    with pytest.raises(UnknownComponent) as caught:
        registry.stage("extract-atachments")
    assert str(caught.value) == "unknown stage 'extract-atachments', did you mean 'extract-attachments'?"
    with pytest.raises(UnknownComponent, match=r"unknown stage 'zzz'; there are: extract-attachments"):
        registry.stage("zzz")


def test_a_lazy_component_is_imported_and_checked_at_its_first_use():
    registry = Registry()
    registry.add_lazy("sink", "discard", "mailpipe.sinks.discard:DiscardSink")
    registry.add_lazy("sink", "misnamed", "mailpipe.sinks.discard:DiscardSink")
    registry.add_lazy("stage", "of-another-kind", "mailpipe.sinks.discard:DiscardSink")
    registry.add_lazy("stage", "nowhere", "mailpipe.nowhere:Nothing")
    assert registry.sink("discard").name == "discard"
    with pytest.raises(PluginError, match="calls itself 'discard'"):
        registry.sink("misnamed")
    with pytest.raises(PluginError, match=r"derived from mailpipe\.Stage"):
        registry.stage("of-another-kind")
    with pytest.raises(PluginError, match="cannot be imported"):
        registry.stage("nowhere")


def test_what_is_kept_for_later_is_asked_when_a_name_is_missing():
    registry, asked = Registry(), []
    registry.add_stage(Good)

    def fill(target):
        asked.append(1)
        target.add_stage(stage(name="later"))

    registry.add_later(fill)
    assert registry.stage("good-stage") is Good and not asked
    assert registry.stage("later").name == "later"
    assert registry.names("stage") == ("good-stage", "later") and asked == [1]


def test_nearest_forgives_underscores_and_case():
    assert nearest("Re_Encode", ("re-encode", "decode-mime")) == "re-encode"
    assert nearest("smtp", ("maildir",)) is None
