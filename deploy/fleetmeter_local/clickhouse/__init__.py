"""ClickHouse for one machine: the chDB engine behind ClickHouse's own HTTP protocol, in a process of its own.

    statement.py    where a statement's format, its data and its calls are
    answers.py      engine errors as a server words them; status codes and content types
    access.py       users, and what a read-only one may ask
    request.py      an HTTP request as the job it asks for
    bodies.py       request bodies in files, compression both ways
    engine.py       chDB: one connection a request, cancel, close
    server.py       the HTTP side (aiohttp)
    __main__.py     the process
    launch.py       how it is started, and known to answer

It serves this machine only and one data folder; a production pipeline talks to a ClickHouse server in the same way.
"""
