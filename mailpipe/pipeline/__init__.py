"""What happens to a mail: from a source through stages to a sink, to exactly one outcome on record.

    mail, verdict, outcome          the values: what flows, what is decided, what became of it
    component, registry             the three contracts, and which components there are
    settings (toml_place, complaint, envelope_rule)     the pipeline file
    run, batch, worker, workers     one mail; the mails of a run; the same in several processes
    journal, quarantine, redeliver  what is remembered, set aside, tried again
    choose, assemble, report        sources of a command line; a whole pipeline; its numbers

Never here: sources, stages and sinks themselves, and where plugins are found.
"""
