"""The face of the package: 31 names. Adding one means editing this list, which is the moment to think."""

import mailpipe

OCTETS = {"parse", "write", "Limits", "WritePolicy"}
MODEL = {"Message", "Entity", "Header", "Field", "Mailbox", "Envelope", "Defect"}
FLOW = {
    "RawMail", "Mail", "Origin", "Source", "Stage", "Sink", "Options", "LocalPath", "stage", "Access", "Budget",
    "Services", "Changed", "Registry", "Verdict", "Receipt", "Fate", "Outcome", "Pipeline",
}
TROUBLE = {"MailpipeError"}


def test_the_public_names_are_these_and_no_others():
    assert set(mailpipe.__all__) - {"__version__"} == OCTETS | MODEL | FLOW | TROUBLE


def test_every_public_name_can_be_had():
    for name in mailpipe.__all__:
        assert getattr(mailpipe, name) is not None, name


def test_a_name_that_is_not_there_is_an_attribute_error():
    assert not hasattr(mailpipe, "parse_everything")


def test_every_public_name_has_a_docstring():
    missing = [name for name in mailpipe.__all__ if not name.startswith("_") and not getattr(mailpipe, name).__doc__]
    assert not missing, missing


def test_completion_offers_the_public_names():
    assert set(mailpipe.__all__) <= set(dir(mailpipe))
