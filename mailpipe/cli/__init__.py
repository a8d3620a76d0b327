"""The command line: one file a verb, nothing decided here.

    from mailpipe.cli.main import main
    main(["show", "message.eml"])          # the exit code

Never here: what a pipeline, a queue or a parser does. A verb reads its arguments, calls a room below and prints
what came back.
"""
