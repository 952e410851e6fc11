"""The slow, obvious reference of fleetmeter's hot loop: what the native core must answer, in plain Python.

It is made for reading, not for speed, and shares no code with the native core: text is decoded by the standard
library, times by hand, identities are kept in a set and groups in dicts. From `fleetmeter_schemas` it takes
declarations (field tables, rules, bands, reasons) as data, never a judgement.
"""
