"""What actions do to Conditions, and the words for what is active in them."""

from collections.abc import Sequence
from dataclasses import replace

from moot.gossip.actions import (
    DISTURBANCES,
    Action,
    Calm,
    DiskFull,
    Disturb,
    Heal,
    Partition,
    Scope,
    SetClock,
    Slow,
)
from moot.gossip.faults import Conditions, Fault
from moot.gossip.selectors import select


def afflict(conditions: Conditions, action: Action, names: Sequence[str]) -> bool:
    """Carry out an action as far as it is one of conditions; whether it is. `names` are all members, in order.

    A fault replaces one of the same kind and scope; a selector that means nobody now touches nobody. Raises
    ConfigError when a selector names what is not there; then nothing is changed.
    """
    match action:
        case Disturb(verb, amounts, scope):
            ends = _ends(scope, names)
            fault = replace(amounts, source=ends[0], to=ends[1], both_ways=scope.both_ways, transport=scope.transport)
            conditions.put(label_of(verb, fault), fault)
        case Partition(groups):
            conditions.partition(*[select(group, names) for group in groups])
        case Slow(members, late):
            for name in select(members, names):
                conditions.set_slow(name, late)
        case SetClock(members, clock):
            for name in select(members, names):
                conditions.set_clock(name, clock)
        case DiskFull(members, full):
            for name in select(members, names):
                conditions.set_disk_full(name, full)
        case Heal(what, scope):
            _heal(conditions, what, scope, names)
        case Calm():
            conditions.calm()
        case _:
            return False
    return True


def _heal(conditions: Conditions, what: str, scope: Scope | None, names: Sequence[str]) -> None:
    if not what:
        conditions.heal()
    elif what == "partition":
        conditions.heal_partition()
    elif scope is None:
        for label in [label for label in conditions.faults if label.split()[0] == what]:
            conditions.lift(label)
    else:
        source, to = _ends(scope, names)
        fault = Fault(source=source, to=to, both_ways=scope.both_ways, transport=scope.transport)
        conditions.lift(label_of(what, fault))


def _ends(scope: Scope, names: Sequence[str]) -> tuple[frozenset[str] | None, frozenset[str] | None]:
    source, to = (None if end is None else frozenset(select(end, names)) for end in (scope.source, scope.to))
    return source, to


def label_of(verb: str, fault: Fault) -> str:
    """What names a fault among others: its kind and its scope."""
    return f"{verb} {_scope_of(fault)}".strip()


def _scope_of(fault: Fault) -> Scope:
    source, to = (None if end is None else ",".join(sorted(end)) for end in (fault.source, fault.to))
    return Scope(source, to, fault.both_ways, fault.transport)


def active(conditions: Conditions) -> list[str]:
    """The words of everything that is not as it should be, as one would say them to bring it about."""
    words = [str(Partition(tuple(",".join(group) for group in conditions.groups)))] if conditions.groups else []
    for fault in conditions.faults.values():
        words += [str(Disturb(verb, fault, _scope_of(fault))) for verb in _kinds(fault)]
    words += [f"stop {name}" for name in conditions.paused]
    words += [str(Slow(name, late)) for name, late in sorted(conditions.slow.items())]
    words += [str(SetClock(name, clock)) for name, clock in sorted(conditions.clocks.items())]
    words += [str(DiskFull(name)) for name in conditions.disk_full]
    return words


def _kinds(fault: Fault) -> list[str]:
    found = {
        "cut": fault.loss == 1.0,
        "loss": 0.0 < fault.loss < 1.0,
        "delay": fault.delay > 0.0 or fault.jitter > 0.0,
        "duplicate": fault.duplicate > 0.0,
        "corrupt": fault.corrupt > 0.0,
        "reorder": fault.reorder > 0.0,
        "bandwidth": fault.bandwidth is not None,
    }
    return [verb for verb in DISTURBANCES if found[verb]]
