"""A comparison as sentences and as tables."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

from cross_checking.comparison import Comparison
from cross_checking.matching import Gap, Merged, attested
from cross_checking.rows import as_time

NAMES = {"kaiko": "Kaiko", "kwery": "Kwery", "coin_metrics": "Coin Metrics", "kiyotaka": "Kiyotaka"}
UNEVEN = 0.005  # the part of the liquidations from which on it is worth a sentence that a vendor lacks some


def verdict(comparison: Comparison) -> list[str]:
    """What disagrees, in sentences, the greatest first; or that all agree."""
    said = [_of_gap(comparison, gap) for gap in comparison.gaps]
    said += [sentence for vendor in comparison.names for sentence in _of_vendor(comparison, vendor)]
    if not said:
        everywhere = sum(len(one.usd) == len(comparison.names) for one in comparison.merged)
        whole = f"{everywhere:,} of {len(comparison.merged):,} {comparison.market} liquidations on {comparison.day}"
        said = [f"{listing(comparison.names)} agree on {whole}."]
    return said


def _of_gap(comparison: Comparison, gap: Gap) -> str:
    both = "both " if len(gap.witnesses) == 2 else ""
    have = "has" if len(gap.witnesses) == 1 else "have"
    missed = f"{gap.events:,} {comparison.market} liquidations ({dollars(gap.usd)})"
    return (
        f"{NAMES[gap.vendor]} has none of the {missed} that {listing(gap.witnesses)} {both}{have} between "
        f"{as_time(gap.first):%H:%M:%S} and {as_time(gap.last):%H:%M:%S} UTC on {comparison.day}"
        f"{_confirmed(comparison, gap)}."
    )


def _confirmed(comparison: Comparison, gap: Gap) -> str:
    """What Kiyotaka's sums say of the hours that lie in a gap."""
    there = comparison.by_hour(gap.vendor)
    hours = [h for h in range(comparison.hour(gap.first), comparison.hour(gap.last) + 1) if h not in there]
    if not comparison.sums or not hours:
        return ""
    total = sum(comparison.sums.get(hour, 0.0) for hour in hours)
    return f"; Kiyotaka's sum from {hours[0]:02}:00 to {hours[-1] + 1:02}:00 is {dollars(total)}"


def _of_vendor(comparison: Comparison, vendor: str) -> Iterable[str]:
    """What a vendor lacks outside of gaps, and what it alone has."""
    agreed = [one for one in comparison.merged if attested(one, comparison.names)]
    spans = [(gap.first, gap.last) for gap in comparison.gaps if gap.vendor == vendor]
    lacking = [one for one in agreed if vendor not in one.usd and not any(a <= one.at <= b for a, b in spans)]
    if len(lacking) > UNEVEN * len(agreed):
        yield (
            f"{NAMES[vendor]} lacks {len(lacking):,} of {len(agreed):,} {comparison.market} liquidations on "
            f"{comparison.day} ({dollars(value(lacking))}), here and there."
        )
    alone = [one for one in comparison.merged if list(one.usd) == [vendor]]
    if len(comparison.names) > 2 and len(alone) > UNEVEN * len(agreed):
        yield f"{NAMES[vendor]} alone has {len(alone):,} liquidations ({dollars(value(alone))}) that match nobody's."


def remarks(comparison: Comparison) -> list[str]:
    """What to know about the rows that were compared, and about gaps that are known."""
    said = [f"{NAMES[one.vendor]}: {note}." for one in comparison.vendors for note in one.notes]
    if comparison.known is not None:
        for gap, notes in comparison.known.items():
            at = f"{NAMES[gap.vendor]}, {as_time(gap.first):%H:%M}"
            said.append(f"{at}: liquidation_coverage {'says ' + '; '.join(notes) if notes else 'does not list it'}.")
    return said


def tables(comparison: Comparison, *, hours: bool = True) -> str:
    """The vendors' totals, who has what, and each hour."""
    found = [_totals(comparison), _shared(comparison), *([_hours(comparison)] if hours else [])]
    return "\n\n".join(found)


def _totals(comparison: Comparison) -> str:
    lines: list[Sequence[object]] = []
    for one in comparison.vendors:
        own = [event for event in comparison.merged if one.vendor in event.usd]
        alone = sum(len(event.usd) == 1 for event in own)
        usd = sum(event.usd[one.vendor] for event in own)
        not_here = len(comparison.merged) - len(own)
        lines.append((NAMES[one.vendor], one.market, len(own), usd, len(own) - alone, alone, not_here))
    if comparison.sums:
        lines.append((NAMES["kiyotaka"], "sums only", "", sum(comparison.sums.values()), "", "", ""))
    return table(("vendor", "market", "liquidations", "USD", "matched", "only here", "not here"), lines, left=2)


def _shared(comparison: Comparison) -> str:
    found: dict[tuple[str, ...], list[Merged]] = defaultdict(list)
    for one in comparison.merged:
        found[tuple(name for name in comparison.names if name in one.usd)].append(one)
    most_first = sorted(found.items(), key=lambda item: -len(item[1]))
    lines = [(listing(who), len(which), value(which)) for who, which in most_first]
    return table(("who has them", "liquidations", "USD"), lines, left=1)


def _hours(comparison: Comparison) -> str:
    hours = {name: comparison.by_hour(name) for name in comparison.names}
    lines = []
    for hour in range(24):
        found = {name: hours[name].get(hour, (0, 0.0)) for name in comparison.names}
        line: list[object] = [f"{hour:02}:00", *(number for pair in found.values() for number in pair)]
        if comparison.sums:
            line.append(comparison.sums.get(hour, 0.0))
        empty = [name for name, (count, _) in found.items() if not count]
        lines.append([*line, f"← none: {listing(empty)}" if 0 < len(empty) < len(found) else ""])
    heads = [head for name in comparison.names for head in (NAMES[name], "USD")]
    return table(("hour", *heads, *(["Kiyotaka USD"] if comparison.sums else []), ""), lines, left=1)


def value(events: Iterable[Merged]) -> float:
    """US dollars."""
    return sum(one.value for one in events)


def listing(vendors: Sequence[str]) -> str:
    """Their names, with commas and an and."""
    names = [NAMES[vendor] for vendor in vendors]
    return " and ".join((", ".join(names[:-1]), names[-1])) if len(names) > 1 else "".join(names)


def dollars(amount: float) -> str:
    for size, unit in ((1e9, "billion"), (1e6, "million")):
        if amount >= size:
            return f"{amount / size:.2f} {unit} USD"
    return f"{amount:,.0f} USD"


def table(heads: Sequence[str], lines: Iterable[Sequence[object]], *, left: int) -> str:
    """Columns of equal width; numbers, and all but the first `left` columns, to the right."""
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
