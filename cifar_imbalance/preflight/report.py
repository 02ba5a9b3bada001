"""A pre-flight's results as text."""

from __future__ import annotations

from io import StringIO
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from cifar_imbalance.configuration.tpus import GIB

WIDTH = 100
NOT_MEASURED = (
    "These are bounds, not measurements: no step was run. A step takes at least its roofline time; waiting for other\n"
    "cores and for the host, small operations and units that are not full come on top, compilation and reading of\n"
    "images too. The core's figures are those that its vendor publishes; the operations' peak is that of bfloat16."
)
NOT_DOCUMENTED = "How the compiler estimates is not documented."


def preflight_text(results: dict[str, Any]) -> str:
    """The report: what was compiled, a column for each kind of step, the largest batch, the duration."""
    core, side = results["core"], " x ".join(map(str, results["input_size"]))
    lines = [
        f"{results['experiment']} on {results['topology']}: {results['cores']} cores, each with "
        f"{core['hbm_bytes'] / GIB:.4g} GiB, {core['flops_per_second'] / 1e12:.4g} TFLOP/s and "
        f"{core['hbm_bytes_per_second'] / 1e9:.4g} GB/s",
        f"{results['model']}, {results['parameters'] / 1e6:.2f} million parameters, {side} px, {results['precision']}; "
        f"one program for all cores (SPMD)",
    ]
    if results["members"] > 1:
        how = (
            "stacked: one training step of all; the batch and images/s are those of each"
            if results["stacked"]
            else "one after another: steps of one"
        )
        lines.append(f"{results['members']} members, {how}")
    if results["stand_in"] is not None:
        removed = results["stand_in"]["removed_blocks"]
        lines.append(
            f"extrapolated: compiled were models with none and with one of each row of alike blocks (up to {removed} "
            "fewer)"
        )
    if results["controller"] == "cuda":
        lines.append(
            "controller=cuda classifies images before each epoch, more the higher its levels: counted are the fewest"
        )
    lines += ["", _table(results), "", *_last_lines(results), "", NOT_MEASURED]
    if results["estimated_seconds"] is not None:
        lines.append(NOT_DOCUMENTED)
    lines.append("")
    return "\n".join(lines)


def _table(results: dict[str, Any]) -> str:
    steps = results["steps"]
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("step")
    for kind in steps:
        table.add_column(kind, justify="right")

    def row(name: str, value: Any) -> None:
        table.add_row(name, *("" if step["reason"] is not None else value(step) for step in steps.values()))

    table.add_row("batch, of all cores together", *(f"{step['batch_size']:,}" for step in steps.values()))
    table.add_row("compiles", *("yes" if step["reason"] is None else "no" for step in steps.values()))
    table.add_row("the compiler's time here, s", *(f"{step['compile_seconds']:.0f}" for step in steps.values()))
    row("memory of a core, GiB", lambda step: f"{step['memory_bytes'] / GIB:.3f}")
    row("    share of what it has", lambda step: f"{step['memory_bytes'] / results['core']['hbm_bytes']:.1%}")
    for title, name in (
        ("weights, state, images of the step", "argument_bytes"),
        ("temporary", "temporary_bytes"),
        ("its program", "code_bytes"),
        ("lies beside it", "beside_bytes"),
    ):
        row(f"    {title}", lambda step, name=name: f"{step[name] / GIB:.3f}")
    row("floating-point operations of a core, G", lambda step: f"{step['flops'] / 1e9:.4g}")
    row("to and from a core's memory, MB", lambda step: f"{step['hbm_bytes'] / 1e6:.4g}")
    row("roofline time, ms, at least", lambda step: f"{step['roofline_seconds'] * 1e3:.3g}")
    row("    of its operations", lambda step: f"{step['compute_seconds'] * 1e3:.3g}")
    row("    of its bytes", lambda step: f"{step['memory_seconds'] * 1e3:.3g}")
    if all(step.get("estimated_seconds") is not None for step in steps.values() if step["reason"] is None):
        row("the compiler's own estimate, ms", lambda step: f"{step['estimated_seconds'] * 1e3:.3g}")
    row("images/s, at most", lambda step: f"{step['images_per_second']:,.0f}")
    table.add_row("steps of the experiment", *(f"{step['steps']:,}" for step in steps.values()))
    text = StringIO()
    Console(file=text, width=WIDTH).print(table)
    return "\n".join(line.rstrip() for line in text.getvalue().splitlines()).strip("\n")


def _last_lines(results: dict[str, Any]) -> list[str]:
    lines = [f"{kind}: {step['reason']}" for kind, step in results["steps"].items() if step["reason"] is not None]
    lines += [f"{kind}: does not fit: {why}" for kind, why in too_large(results).items()]
    if (found := results["largest_batch"]) is not None:
        lines.append(_largest(found, results))
    if (seconds := results["duration_seconds"]) is not None:
        lines.append(f"the experiment: {_time(seconds)} at least, without compilation")
    if (seconds := results["estimated_seconds"]) is not None:
        lines[-1] += f"; {_time(seconds)} by the compiler's own estimate"
    return lines


def too_large(results: dict[str, Any]) -> dict[str, str]:
    """By kind of step, how much memory it lacks: of steps that are extrapolated, or with what lies beside them."""
    has = results["core"]["hbm_bytes"]
    needs = {kind: step["memory_bytes"] for kind, step in results["steps"].items() if step["reason"] is None}
    return {
        kind: f"it needs {need / GIB:.1f} GiB of a core, which has {has / GIB:.4g}"
        for kind, need in needs.items()
        if need > has
    }


def _largest(found: dict[str, Any], results: dict[str, Any]) -> str:
    how = "extrapolated" if results["stand_in"] is not None else "compiled"
    tried = ", ".join(
        f"{size}: {'refused' if used is None else f'{used / GIB:.2f} GiB'}" for size, used in found["bytes_of"].items()
    )
    if found["fits"] is None:
        return f"largest batch in training: none of those that were tried fits ({how}: {tried})"
    if found["fits"] > results["train_images"] - results["cores"]:
        return f"largest batch in training: {found['fits']}, all training images at once ({how}: {tried})"
    above = "none was too large" if found["too_large"] is None else f"less than {found['too_large']} in any case"
    return f"largest batch in training: {found['fits']}, or more ({above}; {how}: {tried})"


def _time(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.2g} s"
    if seconds < 3600:
        return f"{seconds / 60:.1f} minutes"
    return f"{seconds / 3600:.1f} hours"
