"""The figures as tables that a person reads."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.table import Table

from fleetmeter_bench.broker_away import Away
from fleetmeter_bench.client_speed import EmitCost
from fleetmeter_bench.dedup_figures import Figure
from fleetmeter_bench.ingest_speed import IngestSpeed
from fleetmeter_bench.measure import Speed
from fleetmeter_bench.native_speed import NativeSpeed
from fleetmeter_bench.pipeline import PlainFaust
from fleetmeter_bench.reading_speed import Reading
from fleetmeter_bench.recovery_speed import Recovery
from fleetmeter_bench.worker_speed import EndToEnd


def rate(events_per_s: float) -> str:
    """`1.92 M/s`, `4.7 k/s`, `280 /s`."""
    if events_per_s >= 1e6:
        return f"{events_per_s / 1e6:.2f} M/s"
    if events_per_s >= 1e3:
        return f"{events_per_s / 1e3:.1f} k/s"
    return f"{events_per_s:.0f} /s"


def show_machine(console: Console, machine: dict[str, Any]) -> None:
    """One line about the machine, and a warning where other work disturbs."""
    console.print(f"[dim]{machine['processor']}, {machine['cores']} cores, Python {machine['python']}[/dim]")
    if machine["load_before"] > machine["cores"] / 2:
        console.print(
            f"[yellow]Load is {machine['load_before']}: other work on this machine makes all figures worse.[/yellow]"
        )


def native_table(speeds: list[NativeSpeed], known_ids: int) -> Table:
    """The native core by wire format and by what deduplication remembers."""
    table = Table(
        title="Native core: events a second on one core, parse to flushed rollups (median)", title_justify="left"
    )
    table.add_column("wire format")
    table.add_column("bytes/event", justify="right")
    heads = ["without dedup", "sequenced ids", "foreign ids", "all resent"]
    if known_ids:
        heads.append(f"foreign, {known_ids / 1e6:g} M known")
    for head in heads:
        table.add_column(head, justify="right")
    for one in speeds:
        cells = [one.without, one.sequenced, one.foreign, one.resent, *([one.crowded] if one.crowded else [])]
        table.add_row(one.format, f"{one.bytes_an_event:.0f}", *(rate(cell.median) for cell in cells))
    table.caption = (
        "A worker always deduplicates: sequenced ids cost it a range, foreign ids 128 bits each. Without: the same "
        "sequenced ids, to show what that costs."
    )
    return table


def ingest_table(speeds: list[IngestSpeed]) -> Table:
    """HTTP ingest by kind of body, and the plain peers; the ratio is to the peer that judges, on the same bodies."""
    table = Table(title="HTTP ingest: events that Kafka has acknowledged", title_justify="left")
    table.add_column("server", no_wrap=True)
    table.add_column("bodies", no_wrap=True)
    for head in ("events", "CPU s", "events/CPU s", "x plain"):
        table.add_column(head, justify="right", no_wrap=True)
    peers = {one.body: one.events_per_cpu_s for one in speeds if one.judges and one.server != "fleetmeter"}
    for one in speeds:
        ratio = one.events_per_cpu_s / peers[one.body] if one.body in peers else None
        table.add_row(
            one.server,
            one.body,
            f"{one.events:,}",
            f"{one.cpu_s:.2f}",
            rate(one.events_per_cpu_s),
            "" if ratio is None else f"{ratio:.1f}",
        )
    table.caption = (
        "CPU s: of the server's process, all its threads; so events/CPU s is what one core takes. Bodies of 1,000 "
        "events, but for `one by one`. Plain: aiohttp, pydantic, and a Kafka record for each event."
    )
    return table


def recovery_table(recoveries: list[Recovery]) -> Table:
    """What a kill at full load costs."""
    table = Table(title="Time to recover: a worker is killed (-9) at full load", title_justify="left")
    for head in ("what then", "events", "left to count", "all partitions commit again after", "caught up after"):
        table.add_column(head, justify="left" if head == "what then" else "right")
    for one in recoveries:
        table.add_row(
            one.how, f"{one.events:,}", f"{one.left:,}", f"{one.all_commit_s:.1f} s", f"{one.caught_up_s:.1f} s"
        )
    table.caption = "Each event was counted once. Who takes over waits for the session's end (session_timeout_s)."
    return table


def parser_table(peers: list[tuple[str, Speed]], native: float | None) -> Table:
    """Ways to read one JSON event in Python, beside the native core's whole path."""
    table = Table(title="Reading one JSON event in Python (median)", title_justify="left")
    table.add_column("way")
    table.add_column("events/s", justify="right")
    if native:
        table.add_column("native core", justify="right")
    for name, one in peers:
        table.add_row(name, rate(one.median), *([f"{native / one.median:.1f} times as fast"] if native else []))
    if native:
        table.caption = "The core also identifies, deduplicates and aggregates in its time."
    return table


def dedup_table(figures: list[Figure]) -> Table:
    """What remembering counted events takes, beside what it may."""
    table = Table(title="Remembering counted events", title_justify="left")
    table.add_column("what")
    for head in ("figure", "at most"):
        table.add_column(head, justify="right")
    for one in figures:
        most = "" if one.most is None else f"{one.most:g} {one.unit}"
        style = "red" if one.most is not None and one.value > one.most else ""
        table.add_row(one.what, f"{one.value:.3g} {one.unit}", most, style=style)
    return table


def reading_line(reading: Reading) -> str:
    """The consumer alone."""
    return (
        f"Out of Kafka alone: {rate(reading.records_per_s)} single JSON records as lean record batches "
        f"({reading.payload_bytes / reading.seconds / 2**20:,.0f} MiB/s; {reading.processor_seconds:.2f} CPU s in "
        f"{reading.seconds:.2f} s for {reading.records:,})."
    )


def pipeline_table(workers: list[tuple[str, EndToEnd]], plain: PlainFaust, cores: int) -> Table:
    """One worker from Kafka to the committed ledger, by wire format, and plain Faust on the first topic."""
    table = Table(title="One worker: Kafka to committed in ClickHouse", title_justify="left")
    table.add_column("records", no_wrap=True)
    engines = list(workers[0][1].engine_seconds) if workers else []
    heads = ("events", "seconds", "commits", "events/s", "x plain\nFaust", "events/\nCPU s")
    for head in (*heads, *(f"CPU s\n{name}" for name in ("worker", *engines))):
        table.add_column(head, justify="right", no_wrap=True)
    for name, one in workers:
        table.add_row(
            name,
            f"{one.events:,}",
            f"{one.seconds:.1f}",
            f"{one.commits}",
            rate(one.events_per_s),
            f"{one.events_per_s / plain.events_per_s:.0f}",
            rate(one.events / one.processor_seconds),
            f"{one.processor_seconds:.1f}",
            *(f"{one.engine_seconds[name]:.1f}" for name in engines),
        )
    table.add_section()
    table.add_row("plain Faust", f"{plain.events:,}", f"{plain.seconds:.1f}", "-", rate(plain.events_per_s), "1", "")
    table.caption = (
        f"The broker and ClickHouse share {cores} cores with it: events/s are what that allows, events/CPU s what the "
        "worker itself costs. Plain Faust reads the JSON topic with the stock transport "
        "and adds up in a dict: no deduplication, nothing stored."
    )
    return table


def client_table(costs: list[EmitCost]) -> Table:
    """What `emit` costs its caller."""
    table = Table(title="UsageClient.emit: how long the caller waits (microseconds)", title_justify="left")
    table.add_column("outbox")
    for head in ("threads", "emitted", "delivered", "p50", "p99", "p99.9"):
        table.add_column(head, justify="right")
    for one in costs:
        table.add_row(
            one.outbox,
            f"{one.threads}{f', every {1000 * one.paced_s:g} ms' if one.paced_s else ''}",
            f"{one.emitted:,}",
            f"{one.delivered:,}",
            *(f"{us:,.1f}" for us in (one.p50_us, one.p99_us, one.p999_us)),
        )
    table.caption = "The broker runs on the same cores. `synced` waits for the disk, to survive a loss of power."
    return table


def away_table(away: Away) -> Table:
    """A client whose broker was away: memory and spool over time."""
    title = f"Broker away for {away.minutes:g} min at {away.events_per_s:,.0f} events/s: the client"
    table = Table(title=title, title_justify="left")
    for head in ("second", "memory MiB", "spool MiB", "emitted", "delivered", "wait"):
        table.add_column(head, justify="right")
    step = max(1, len(away.samples) // 20)
    for one in away.samples[::step]:
        table.add_row(
            f"{one.seconds:.0f}",
            f"{one.rss_mib:.1f}",
            f"{one.spool_mib:.1f}",
            *(f"{count:,}" for count in (one.emitted, one.delivered, one.waiting)),
        )
    memory = [one.rss_mib for one in away.while_away()]
    table.caption = (
        f"Gone at {away.gone_s:.0f} s, back at {away.back_s:.0f} s. Memory in the second half of the absence: "
        f"{min(memory):.1f} to {max(memory):.1f} MiB. Caught up {away.catch_up_s:.1f} s after it was back, while "
        f"events went on. Emitted {away.emitted:,}, dropped {away.dropped}; in the log {away.distinct:,} ids in "
        f"{away.in_log:,} records, {away.missing} missing."
    )
    return table
