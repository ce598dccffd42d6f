"""leading - what coordinators said of themselves: the lines leader.started and
leader.stopped in the logs of workers, and checkers of them."""

from __future__ import annotations

from collections.abc import Iterable

from cluster import Instance

STARTED, STOPPED = "leader.started", "leader.stopped"


def said(instance: Instance) -> list[dict]:
    """The lines that count, in order: terms, and the lives of coordinators."""
    lines = instance.events(instance.workers)
    return [
        line
        for line in lines
        if line["event"] in (STARTED, STOPPED, "workers.started")
        or (line["event"] == "child.died" and line["role"] == "coordinator")
    ]


def check_turns(lines: Iterable[dict]) -> None:
    """In one process start and stop of a service come in turn, start first,
    and both are of the same term. The death of the process ends its turn."""
    led: dict[str, str] = {}
    for line in lines:
        if line["event"] not in (STARTED, STOPPED):
            led.clear()
            continue
        service, term = line["service"], line["term"]
        if line["event"] == STARTED:
            assert service not in led, f"two starts in a row: {line}"
            led[service] = term
        else:
            assert led.pop(service, None) == term, f"a stop without a start: {line}"


def check_terms_said(lines_of: dict[str, list[dict]]) -> None:
    """A term is started by one instance only, and terms of an instance grow."""
    owner: dict[tuple[str, str], str] = {}
    for name, lines in lines_of.items():
        last: dict[str, int] = {}
        for line in lines:
            if line["event"] != STARTED:
                continue
            service, term = line["service"], line["term"]
            one = owner.setdefault((service, term), name)
            assert one == name, f"term {term} of {service}: {one} and {name} led it"
            assert int(term) >= last.get(service, 0), f"an older term: {line}"
            last[service] = int(term)


def check_said(instances: dict[str, Instance]) -> None:
    lines_of = {name: said(i) for name, i in instances.items()}
    for lines in lines_of.values():
        check_turns(lines)
    check_terms_said(lines_of)
    assert any(lines_of.values()), "nobody has led"
