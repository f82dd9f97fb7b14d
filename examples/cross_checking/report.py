"""A comparison as sentences and as tables."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

from cross_checking.comparison import Comparison
from cross_checking.matching import Gap, Merged, attested
from cross_checking.rows import as_time

NAMES = {"kaiko": "Kaiko", "kwery": "Kwery", "coin_metrics": "Coin Metrics", "kiyotaka": "Kiyotaka"}
UNEVEN = 0.005  # a vendor that lacks a larger part of the liquidations gets a sentence


def verdict(comparison: Comparison) -> list[str]:
    """Sentences about disagreements, the largest first, or one that says that all agree."""
    sentences = [_of_gap(comparison, gap) for gap in comparison.gaps]
    sentences += [sentence for vendor in comparison.names for sentence in _of_vendor(comparison, vendor)]
    if not sentences:
        agreed = sum(len(event.usd) == len(comparison.names) for event in comparison.merged)
        part = f"{agreed:,} of {len(comparison.merged):,} {comparison.market} liquidations on {comparison.day}"
        sentences = [f"{joined(comparison.names)} agree on {part}."]
    return sentences


def _of_gap(comparison: Comparison, gap: Gap) -> str:
    both = "both " if len(gap.witnesses) == 2 else ""
    have = "has" if len(gap.witnesses) == 1 else "have"
    missed = f"{gap.events:,} {comparison.market} liquidations ({dollars(gap.usd)})"
    return (
        f"{NAMES[gap.vendor]} has none of the {missed} that {joined(gap.witnesses)} {both}{have} between "
        f"{as_time(gap.first):%H:%M:%S} and {as_time(gap.last):%H:%M:%S} UTC on {comparison.day}"
        f"{_confirmed(comparison, gap)}."
    )


def _confirmed(comparison: Comparison, gap: Gap) -> str:
    """Kiyotaka's sum of the hours of a gap in which the vendor has no rows."""
    by_hour = comparison.by_hour(gap.vendor)
    empty = [hour for hour in range(comparison.hour(gap.first), comparison.hour(gap.last) + 1) if hour not in by_hour]
    if not comparison.sums or not empty:
        return ""
    total = sum(comparison.sums.get(hour, 0.0) for hour in empty)
    return f"; Kiyotaka's sum from {empty[0]:02}:00 to {empty[-1] + 1:02}:00 is {dollars(total)}"


def _of_vendor(comparison: Comparison, vendor: str) -> Iterable[str]:
    """What a vendor lacks outside of gaps, and what no other vendor has."""
    agreed = [event for event in comparison.merged if attested(event, comparison.names)]
    spans = [(gap.first, gap.last) for gap in comparison.gaps if gap.vendor == vendor]
    lacking = [event for event in agreed if vendor not in event.usd and not any(a <= event.at <= b for a, b in spans)]
    if len(lacking) > UNEVEN * len(agreed):
        yield (
            f"{NAMES[vendor]} lacks {len(lacking):,} of {len(agreed):,} {comparison.market} liquidations on "
            f"{comparison.day} ({dollars(value(lacking))}), scattered over the day."
        )
    alone = [event for event in comparison.merged if list(event.usd) == [vendor]]
    if len(comparison.names) > 2 and len(alone) > UNEVEN * len(agreed):
        yield f"{NAMES[vendor]} has {len(alone):,} liquidations ({dollars(value(alone))}) that no other vendor has."


def remarks(comparison: Comparison) -> list[str]:
    """Notes on the rows that were compared, and on documented gaps."""
    lines = [f"{NAMES[vendor.name]}: {note}." for vendor in comparison.vendors for note in vendor.notes]
    if comparison.documented is not None:
        for gap, notes in comparison.documented.items():
            at = f"{NAMES[gap.vendor]}, {as_time(gap.first):%H:%M}"
            lines.append(f"{at}: liquidation_coverage {'says ' + '; '.join(notes) if notes else 'does not list it'}.")
    return lines


def tables(comparison: Comparison, *, hours: bool = True) -> str:
    """The vendors' totals, who has what, and each hour."""
    return "\n\n".join([_totals(comparison), _shared(comparison), *([_hours(comparison)] if hours else [])])


def _totals(comparison: Comparison) -> str:
    lines: list[Sequence[object]] = []
    for vendor in comparison.vendors:
        own = [event for event in comparison.merged if vendor.name in event.usd]
        alone = sum(len(event.usd) == 1 for event in own)
        usd = sum(event.usd[vendor.name] for event in own)
        not_here = len(comparison.merged) - len(own)
        lines.append((NAMES[vendor.name], vendor.market, len(own), usd, len(own) - alone, alone, not_here))
    if comparison.sums:
        lines.append((NAMES["kiyotaka"], "sums only", "", sum(comparison.sums.values()), "", "", ""))
    return table(("vendor", "market", "liquidations", "USD", "matched", "only here", "not here"), lines, left=2)


def _shared(comparison: Comparison) -> str:
    events_by_vendors: dict[tuple[str, ...], list[Merged]] = defaultdict(list)
    for event in comparison.merged:
        events_by_vendors[tuple(name for name in comparison.names if name in event.usd)].append(event)
    most_first = sorted(events_by_vendors.items(), key=lambda item: -len(item[1]))
    lines = [(joined(vendors), len(events), value(events)) for vendors, events in most_first]
    return table(("who has them", "liquidations", "USD"), lines, left=1)


def _hours(comparison: Comparison) -> str:
    hours = {name: comparison.by_hour(name) for name in comparison.names}
    lines = []
    for hour in range(24):
        totals = {name: hours[name].get(hour, (0, 0.0)) for name in comparison.names}
        line: list[object] = [f"{hour:02}:00", *(number for pair in totals.values() for number in pair)]
        if comparison.sums:
            line.append(comparison.sums.get(hour, 0.0))
        empty = [name for name, (count, _) in totals.items() if not count]
        lines.append([*line, f"← none: {joined(empty)}" if 0 < len(empty) < len(totals) else ""])
    heads = [head for name in comparison.names for head in (NAMES[name], "USD")]
    return table(("hour", *heads, *(["Kiyotaka USD"] if comparison.sums else []), ""), lines, left=1)


def value(events: Iterable[Merged]) -> float:
    """US dollars."""
    return sum(event.value for event in events)


def joined(vendors: Sequence[str]) -> str:
    """Their names, joined by commas and "and"."""
    names = [NAMES[vendor] for vendor in vendors]
    return " and ".join((", ".join(names[:-1]), names[-1])) if len(names) > 1 else "".join(names)


def dollars(amount: float) -> str:
    for size, unit in ((1e9, "billion"), (1e6, "million")):
        if amount >= size:
            return f"{amount / size:.2f} {unit} USD"
    return f"{amount:,.0f} USD"


def table(heads: Sequence[str], lines: Iterable[Sequence[object]], *, left: int) -> str:
    """Aligned columns: the first `left` ones to the left, the others to the right."""
    texts = [list(heads), *([_text(cell) for cell in line] for line in lines)]
    widths = [max(len(text[column]) for text in texts) for column in range(len(heads))]
    texts.insert(1, ["─" * width for width in widths])
    return "\n".join(
        "  ".join(
            text.ljust(width) if column < left or text.startswith("←") else text.rjust(width)
            for column, (text, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in texts
    )


def _text(cell: object) -> str:
    return f"{cell:,.0f}" if isinstance(cell, float) else f"{cell:,}" if isinstance(cell, int) else str(cell)
