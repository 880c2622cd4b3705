# SPDX-License-Identifier: Apache-2.0
"""The figures of "Does a split pay?" are what tables of cuts say now, and the page fits them."""

from __future__ import annotations

import json

import pytest

from pays import DEVICES, FIGURES, IMAGES, MBIT, NETWORKS, latencies, network, table, where_it_pays

KNOWN = json.loads(FIGURES.read_text("utf-8"))


def test_the_figures_are_what_tables_of_cuts_say() -> None:
    models = network("mobilenet_v2")
    for device in DEVICES:
        for mbit in (1, 32):
            at = MBIT.index(mbit)
            for way, ms in latencies(models, device, mbit).items():
                assert KNOWN["mobilenet_v2"][device][way][at] == pytest.approx(ms, rel=1e-3)


def test_both_pictures_are_there_and_load_nothing() -> None:
    for name in NETWORKS:
        text = (IMAGES / f"pays-{name}.svg").read_text("utf-8")
        assert len(text) < 150_000
        assert "<script" not in text
        assert not [device for device in DEVICES.values() if device not in text]


def test_the_page_says_where_splits_pay_as_the_figures_do() -> None:
    pays = {way: where_it_pays(KNOWN["resnet50"]["rpi4"], way) for way in
            ("split", "split, 8 bits", "split, learned codec")}  # fmt: skip
    assert pays["split"] == pays["split, 8 bits"] == []
    assert (pays["split, learned codec"][0], pays["split, learned codec"][-1]) == (0.5, 2)
    learned = where_it_pays(KNOWN["resnet50"]["rpi4"], "split, learned codec", jpeg=False)
    assert (learned[0], learned[-1]) == (0.5, 64)
    by_bytes = table(jpeg=False)
    assert "| MobileNetV2 | Raspberry Pi 4 | never | 32 to 64 Mbit/s |" in by_bytes
    zero = KNOWN["mobilenet_v2"]["rpi-zero2w"]
    assert where_it_pays(zero, "split, 8 bits", jpeg=False) == [4, 8, 16]
    for name in NETWORKS:
        for device in DEVICES:
            assert where_it_pays(KNOWN[name][device], "split") == []
