"""How many of the workers each vendor may have: a slow one holds up no other."""

from __future__ import annotations

from collections.abc import Collection, Mapping


def shares(
    demand: Mapping[str, int], busy: Mapping[str, int], held: Collection[str], *, workers: int
) -> dict[str, int]:
    """By vendor: how many more requests it may have under way.

    `demand` says how many workers each could use, `busy` how many it has, `held` whose budget is spent. Each has an
    equal share of the workers. What a vendor has no use for, or cannot use because its budget is spent, goes to the
    others, but for one place: a slow vendor would keep it.
    """
    active = [vendor for vendor, wanted in demand.items() if wanted]
    share = max(1, workers // max(1, len(active)))
    free = workers - sum(busy.values())
    owed = {v: max(0, min(1 if v in held else share, demand[v]) - busy.get(v, 0)) for v in active}
    return {
        vendor: max(owed[vendor], free - sum(places for other, places in owed.items() if other != vendor))
        for vendor in active
    }
