# SPDX-License-Identifier: Apache-2.0
"""Record what policies decide, for the runner's twin: `python -m tests.policy.make_golden`.

Only after a change that is meant to decide otherwise. The histories are seeded.
"""

from __future__ import annotations

import dataclasses
import json
import random
from typing import Any

from splitc.policy import Gauge, Option, Policy, Report
from tests.policy.test_policy import ALL, EARLY, GOLDEN, LATE

POLICIES = (
    ("adaptive", (EARLY, LATE), True),
    ("adaptive(within_s=0.03, hold_s=0.2)", ALL, True),
    ("adaptive(margin=0.3, hold_s=0.0, agreement=0.5)", ALL, False),
    ("adaptive(margin=0.0)", ALL, True),
    ('fixed(route="late")', (EARLY, LATE), True),
)


def history(text: str, options: tuple[Option, ...], loses: bool, seed: int) -> dict[str, Any]:
    """A session over a link that changes, with what is measured and decided in it."""
    draw = random.Random(seed)
    gauge, chooser = Gauge(options, loses=loses), Policy.parse(text).start(options)
    named = {option.name: option for option in options}
    now, events = 0.0, list[Any]()
    for k in range(200):
        mbit = (50.0, 10.0, 4.0, 50.0)[k // 50] * draw.uniform(0.9, 1.1)
        now = round(now + draw.uniform(0.02, 0.05), 4)
        wants = gauge.wants_probe(now)
        route = chooser.route(gauge.state(), now)
        events.append(["route", now, wants, route])
        one = named[route]
        if wants:
            bps = float(round(mbit * 1e6))
            gauge.bandwidth(bps, now)
            events.append(["bandwidth", bps, now])
        head_s = round(one.head_s * draw.uniform(0.9, 2.0 if k > 175 else 1.2), 6)
        gauge.head(route, head_s)
        nbytes = one.sent_bytes * (one.packets - 1) // one.packets
        came = one.packets - (draw.randrange(3) if draw.random() < 0.3 else 0)
        report = Report(
            round(nbytes * 8 / (mbit * 1e6) * draw.choice((1, 1, 1, 1, 5)), 6), nbytes,
            round(draw.uniform(0, 0.001), 6), round(one.tail_s * draw.uniform(0.8, 1.5), 6),
            came, one.packets,
        )  # fmt: skip
        gauge.report(route, report, now)
        rest = list(dataclasses.astuple(report))
        events.append(["head", route, head_s])
        events.append(["report", route, now, *rest])
        left_s = draw.uniform(0.001, 0.01)
        link_tail_s = round(report.spread_s + report.wait_s + report.tail_s + left_s, 6)
        gauge.answered(report, link_tail_s)
        events.append(["answered", link_tail_s, *rest])
    return {
        "policy": text, "loses": loses, "events": events,
        "options": [dataclasses.asdict(option) for option in options],
    }  # fmt: skip


if __name__ == "__main__":
    made = [history(*each, seed) for seed, each in enumerate(POLICIES)]
    GOLDEN.write_text(json.dumps({"histories": made}) + "\n", "utf-8")
