"""Which events were counted, for weeks: chunks of foreign ids, sequenced ids, and how both come back after a restart.

    blobs in the ledger --seal--> dedup_ids + dedup_snapshots --restore--> a core that knows every counted event
                                         \\--lookup--> is this old id one of them?     \\--expire--> forgotten

Everything here is made of committed blobs alone, under keys that say which ones, so that it may be done again, by
whomever, at any time. `docs/dedup.md` says what is remembered for how long, and what it costs.
"""
