"""Benchmark results as tables and a plot: ratios first."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rich import box
from rich.console import Group
from rich.table import Table

from cifar_imbalance.report.plots.canvas import PAGE, new_figure, paper, save_figure

Results = dict[str, Any]


def benchmark_table(results: Results) -> Group:
    """Ratios, then images per second with the share of the matrix product."""
    parts: list[Table] = []
    if results["ratios"]:
        ratios = _table("ratio of images per second", "median", "min", "max")
        for name, spread in results["ratios"].items():
            ratios.add_row(name, *(f"{spread[key]:.2f}" for key in ("median", "min", "max")))
        parts.append(ratios)
    rows = _table("images per second", "median", "min", "max", "of the matrix product")
    for name, spread in results["images_per_second"].items():
        share = results["share_of_matrix_product"][name]["median"]
        rows.add_row(name, *(f"{spread[key]:.0f}" for key in ("median", "min", "max")), f"{share:.0%}")
    product = results["gflops_per_second"]
    rows.caption = (
        f"{results['model']}, {results['image_size']} px, batch {results['batch_size']}, {results['rounds']} rounds of "
        f"{results['steps']} steps\nfloat32 matrix product {product['median']:.0f} GFLOP/s "
        f"({product['min']:.0f} to {product['max']:.0f}); a step is {results['gflops_per_image']:.3f} GFLOP an image"
    )
    return Group(*parts, rows)


def operator_table(results: Results) -> Table:
    """Milliseconds of a step by operator, for the plain model and for ours."""
    times = results["operator_milliseconds"]
    table = _table("milliseconds of a step in", *times)
    names = dict.fromkeys(name for column in times.values() for name in column if name != "other")
    for name in [*sorted(names, key=lambda n: -max(column.get(n, 0) for column in times.values())), "other"]:
        table.add_row(name, *(f"{column[name]:.1f}" if name in column else "" for column in times.values()))
    table.add_row("sum", *(f"{sum(column.values()):.1f}" for column in times.values()))
    return table


@paper()
def benchmark_plot(path: Path, results: Results) -> None:
    """Images per second of each row as bars, with the smallest and the largest round."""
    rows = results["images_per_second"]
    figure = new_figure(PAGE, 0.8 + 0.25 * len(rows))
    axes = figure.add_subplot()
    names = list(reversed(rows))
    medians = [rows[name]["median"] for name in names]
    spread = [[rows[n]["median"] - rows[n]["min"] for n in names], [rows[n]["max"] - rows[n]["median"] for n in names]]
    bars = axes.barh(names, medians, xerr=spread, color="#1f5fa8", ecolor="0.4", capsize=2)
    axes.bar_label(bars, labels=[f"{value:.0f}" for value in medians], label_type="center", color="white")
    axes.set_xlabel("images per second (median, smallest and largest round)")
    axes.set_title(f"{results['model']}, {results['image_size']} px, batch {results['batch_size']}", loc="left")
    axes.grid(axis="x", color="0.9")
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    save_figure(figure, path)


def _table(first: str, *others: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column(first)
    for name in others:
        table.add_column(name, justify="right")
    return table
