"""Golden runs: one recorded input, the export that it must give, and how to get an export out of a run.

    recorded/input.jsonl      the input, a Kafka record a line, in the order of sending
    recorded/*.jsonl          what must be exported, calculated by the reference (tests/reference), not by a run

Event times are those of a recorded day. Before sending they are moved by whole days up to today, because the broker's
clock judges what is too old; the export moves them back.
"""
