# SPDX-License-Identifier: Apache-2.0
"""`splitc plan --tested`: what it prints, for people and for programs."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import msgspec
import pytest

from splitc.cli.app import run
from splitc.cli.options import ScenarioOptions
from splitc.cli.plan_loss import LossOptions, plan_for_losses
from splitc.cli.plan_loss_object import LossPlanObject
from splitc.cli.schema import schema_of
from splitc.errors import NoLegalCutError, UsageError
from splitc.ir.model import GraphModel
from splitc.search.loss_choice import KNOBS
from splitc.search.tested import Trained, write_tested
from splitc.send.settings import Settings
from tests.helpers import save, small_network
from tests.search.lossy import GRAPH, TESTED

pytest.importorskip("zfec", reason="needs zfec for parity")

WHERE = ScenarioOptions(bandwidth="9Mbit", rtt="4ms", loss="0.2")


def printed(
    capsys: pytest.CaptureFixture[str], folder: Path, *, json: bool = False, **options: Any
) -> str:
    """What the verb prints for the small graph."""
    path = folder / "tested.json"
    write_tested(path, TESTED)
    losses = replace(LossOptions(str(path), "30ms"), **options)
    plan_for_losses(GraphModel(GRAPH), WHERE, losses, json=json, quiet=False)
    return capsys.readouterr().out


def test_the_plan_fits_80_columns_and_marks_the_winner(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = printed(capsys, tmp_path, check=200)
    lines = text.splitlines()
    assert max(len(line.rstrip()) for line in lines if " with: " not in line) <= 80
    (winner,) = [line for line in lines if line.startswith("▸")]
    assert "parity" in winner and "91.9" in winner
    for knob in KNOBS:
        assert any(line.strip().startswith(knob) for line in lines), knob
    assert "Within 30 ms for 99 % of the inferences: 91.9, one knob alone 91.3." in text
    assert "Compile with: --cut b\nSend with: --transport parity --parity 50% --mtu 576" in text
    assert "Simulated: 200 of 200 frames kept 30 ms, 98.12 to 100.00 %" in text


def test_programs_get_the_same_in_one_object(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fields = json.loads(printed(capsys, tmp_path, json=True, check=200))
    made = msgspec.convert(fields, LossPlanObject)
    assert made.winner in made.frontier
    assert made.winner.latency_ms <= 30 and made.winner.kept >= 0.99
    reached = [one.accuracy for one in made.alone.values() if one is not None]
    assert max(reached) < made.winner.accuracy
    assert made.check is not None and made.check.kept == 200
    assert [one.accuracy for one in made.frontier] == sorted(o.accuracy for o in made.frontier)


def test_what_to_send_with_is_what_a_device_takes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for within in ("12ms", "30ms", "1s"):
        made = msgspec.convert(
            json.loads(printed(capsys, tmp_path, json=True, within=within)), LossPlanObject
        )
        names = {"--transport": "transport", "--parity": "parity", "--mtu": "mtu",
                 "--bandwidth": "bandwidth", "--deadline": "deadline",
                 "--grace": "grace"}  # fmt: skip
        given: dict[str, Any] = {
            names[name]: int(value) if name == "--mtu" else value
            for name, value in zip(made.send[::2], made.send[1::2], strict=True)
        }
        levels = f"quantize-boundary(bits={made.winner.bits})"
        codec = () if made.winner.bits == 32 else ("--codec", levels)
        assert made.compile == ("--cut", made.winner.cut, *codec)
        settings = Settings.of(**given)
        assert settings.mtu == made.winner.mtu_bytes
        assert settings.transport == {
            (False, False): "udp", (False, True): "parity", (True, False): "resend",
        }[made.winner.resends, made.winner.parity_percent > 0]  # fmt: skip
        rest_ms = made.winner.head_ms + made.winner.tail_ms
        assert settings.deadline_s * 1e3 < float(within.rstrip("ms")) * (
            1000 if within == "1s" else 1
        ) - rest_ms  # fmt: skip


def test_the_verb_plans_for_losses_where_tested_networks_are_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = save(small_network(size=64), tmp_path / "small.onnx")
    rates = (0.0, 0.3, 0.9)
    tested = [
        Trained(cut, rate, dict(zip(rates, reached, strict=True)), bits)
        for cut in ("stem_relu", "pool")
        for rate, reached in (("0", (90.0, 70.0, 20.0)), ("0.4", (88.0, 85.0, 40.0)))
        for bits in (32, 8)
    ]
    write_tested(tmp_path / "tested.json", tested)
    command = ["plan", str(model), "--tested", str(tmp_path / "tested.json"), "--loss", "0.3",
               "--bandwidth", "20Mbit", "--share", "0.95"]  # fmt: skip
    assert run([*command, "--within", "40ms", "--check", "100", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    jsonschema.validate(found, schema_of("plan"))
    assert found["check"]["high"] >= 0.95
    assert found["winner"]["cut"] in ("stem_relu", "pool")
    assert run([*command, "--within", "40ms"]) == 0
    assert "Send with: --transport" in capsys.readouterr().out
    assert run([*command, "--within", "1us"]) == 5
    assert run(command) == 2
    assert "needs --tested and --within" in capsys.readouterr().err


def test_what_is_missing_or_malformed_is_a_named_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(UsageError, match="needs --tested and --within"):
        printed(capsys, tmp_path, within=None)
    with pytest.raises(UsageError, match=r"--parities 10%\n"):
        printed(capsys, tmp_path, parities="10%")
    with pytest.raises(UsageError, match=r"packets of 9000 bytes"):
        printed(capsys, tmp_path, mtus="9000")
    with pytest.raises(NoLegalCutError, match="no cut keeps 1 ms"):
        printed(capsys, tmp_path, within="1ms")
    with pytest.raises(UsageError, match=r"frames -1"):
        printed(capsys, tmp_path, check=-1)
