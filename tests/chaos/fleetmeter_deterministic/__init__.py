"""The production state machine in one process, under a clock, a scheduler and faults that a seed decides.

A *schedule* is a set-up and a list of steps: who runs until where, what fails, what befalls the log. Whatever a step
does follows from the seed alone, so that a failing schedule can be run again, and shrunk to the few steps that matter.

    virtual_time   one clock for all; an event loop per simulated process
    blocking       calls in threads that run one at a time and stop at named points
    kafka          a topic in memory with everything that happens to logs
    worker         one simulated process around the real Partitions, Processor and PartitionLedger
    steps          what a schedule is made of, and how one is drawn
    world          runs a schedule, then heals everything and lets one worker drain
    verdict        what must be true then, computed from the log alone
    campaign       many schedules; shrinking; the table
    mutations      the protocol with one piece taken out: each must make the campaign fail
"""
