# SPDX-License-Identifier: Apache-2.0
"""`splitc schema`: the JSON schemas of a bundle's manifests and of what verbs print."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from splitc.cli import options as o


def schema(
    verb: Annotated[
        str | None, typer.Argument(metavar="[VERB]", help="Of what this verb prints with --json.")
    ] = None,
    json: o.Json = False,
    quiet: o.Quiet = False,
) -> None:
    """Print the JSON schema of the manifests, or of what VERB prints (always JSON)."""
    from splitc.cli import show
    from splitc.errors import UsageError, nearest
    from splitc.runtime.manifest import json_schema

    if verb is None:
        show.print_plain(json_schema())
        return
    known = verbs()
    if verb not in known:
        raise UsageError(f"there is no verb '{verb}' with a schema", hint=nearest(verb, known))
    show.print_plain(schema_of(verb))


def verbs() -> dict[str, tuple[type[Any], ...]]:
    """What each verb prints with `--json`; any of them prints an `ErrorObject` when it fails."""
    from splitc.cli import (
        build_object,
        compile_object,
        diff_object,
        evaluate_object,
        explain,
        fit_object,
        importance,
        link_object,
        listings,
        objects,
        pack_object,
        placed,
        plan_loss_object,
        plan_object,
        profile_object,
        quantize_object,
        send_object,
        serve_object,
        simulate_object,
    )

    return {
        "build": (build_object.BuildObject,),
        "compile": (compile_object.CompileObject,),
        "cuts": (objects.CutsObject, explain.ExplainObject, placed.PlacedObject),
        "plan": (plan_object.PlanObject, plan_loss_object.LossPlanObject),
        "profile": (profile_object.ProfileObject,),
        "fit": (fit_object.FitObject,),
        "quantize": (quantize_object.QuantizeObject,),
        "importance": (importance.ImportanceObject,),
        "inspect": (listings.ModelObject, listings.BundleObject),
        "verify": (objects.VerifyObject, pack_object.FilesObject),
        "diff": (diff_object.DiffObject,),
        "baseline": (diff_object.BaselineObject,),
        "pack": (pack_object.PackObject,),
        "unpack": (pack_object.UnpackObject,),
        "sign": (pack_object.SignObject,),
        "run": (objects.RunObject,),
        "bench": (objects.BenchObject,),
        "report": (objects.ReportObject,),
        "evaluate": (evaluate_object.EvaluateObject,),
        "finetune": (listings.FinetuneObject,),
        "targets": (listings.TargetsObject,),
        "passes": (listings.PassesObject,),
        "ops": (listings.OpsObject,),
        "doctor": (listings.DoctorObject, link_object.LinkCheckObject),
        "serve": (serve_object.ServeObject,),
        "send": (send_object.SendObject,),
        "simulate": (simulate_object.SimulateObject,),
    }


def schema_of(verb: str) -> dict[str, Any]:
    """JSON schema of what a verb prints."""
    import msgspec

    from splitc.cli.objects import SCHEMA, ErrorObject

    shown, components = msgspec.json.schema_components(
        (*verbs()[verb], ErrorObject), ref_template="#/$defs/{name}"
    )
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"splitc {verb} --json, schema {SCHEMA}",
        "anyOf": list(shown),
        "$defs": components,
    }
