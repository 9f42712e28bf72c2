"""Results as text and as tables of the documentation."""

import re

import numpy as np


def line(result):
    """Return one result as a line."""
    size = ", ".join(map(str, result["size"]))
    times = "  ".join(f"{name} {ms:.3g} ms" for name, ms in result["ms"].items())
    ratios = "  ".join(f"{name} / numbarnn {ratio:.2f}" for name, ratio in result["ratio"].items())
    return (
        f"{result['threads']} threads  {result['cell']:4} ({size})  {result['pass']:14}  {times}  {ratios}  "
        f"{result['gflops']:.0f} GFLOP/s = {result['share']:.0%} of {result['limit']:.0f}"
    )


def mean(values):
    """Return the geometric mean."""
    values = list(values)
    return float(np.exp(np.mean(np.log(values)))) if values else float("nan")


def summary(results):
    """Return geometric means and smallest ratios by cell and pass."""
    lines = []
    for which in dict.fromkeys(r["pass"] for r in results):
        for cell in dict.fromkeys(r["cell"] for r in results):
            chosen = [r for r in results if r["pass"] == which and r["cell"] == cell]
            for peer in chosen[0]["ratio"] if chosen else ():
                ratios = [r["ratio"][peer] for r in chosen]
                large = [r["ratio"][peer] for r in chosen if r["size"][1] >= 128]
                lines.append(
                    f"{cell:4} {which:14} against {peer}: mean {mean(ratios):.2f}, least {min(ratios):.2f}, mean for H >= 128 "
                    f"{mean(large):.2f}"
                )
    return "\n".join(lines)


def stream_line(result):
    """Return one result of single steps as a line."""
    times = "  ".join(f"{name} {us:.2f} us (p99 {result['p99'][name]:.2f})" for name, us in result["us"].items())
    ratios = "  ".join(f"{name} / numbarnn {ratio:.2f}" for name, ratio in result["ratio"].items())
    return f"step  {result['cell']:4} C = {result['inputs']}, H = {result['hidden']}  {times}  {ratios}"


def streams(results):
    """Return a Markdown table of single steps, one row a cell and size."""
    peers = list(results[0]["ratio"]) if results else []
    rows = ["| cell, H | us | 99 % below, us | " + " | ".join(f"{peer}: us | ratio" for peer in peers) + " |"]
    rows.append("|---|---|---|" + "---|---|" * len(peers))
    for r in results:
        values = [f"{r['us'][peer]:.3g} | {r['ratio'][peer]:.2f}" for peer in peers]
        own = f"{r['us']['numbarnn']:.3g} | {r['p99']['numbarnn']:.3g}"
        rows.append(f"| {r['cell']}, {r['hidden']} | {own} | " + " | ".join(values) + " |")
    return "\n".join(rows)


def peers(results):
    """Return a Markdown table of the forward pass against every peer, one row a cell and size."""
    chosen = [r for r in results if r["pass"] == "forward"]
    names = list(dict.fromkeys(name for r in chosen for name in r["ratio"]))
    rows = ["| cell; C, H, N, T | threads | ms | " + " | ".join(names) + " | fastest peer |"]
    rows.append("|---|---|---|" + "---|" * (len(names) + 1))

    def row(about, threads, ms, ratios):
        values = [f"{ratios[name]:.2f}" if name in ratios else "" for name in names]
        least = f"{min(ratios.values()):.2f}" if ratios else ""
        return f"| {about} | {threads} | {ms} | " + " | ".join(values) + f" | {least} |"

    for threads in dict.fromkeys(r["threads"] for r in chosen):
        for cell in dict.fromkeys(r["cell"] for r in chosen):
            group = [r for r in chosen if (r["threads"], r["cell"]) == (threads, cell)]
            for r in group:
                about = f"{cell}; {', '.join(map(str, r['size']))}"
                rows.append(row(about, threads, f"{r['ms']['numbarnn']:.3g}", r["ratio"]))
            means = {name: mean(r["ratio"][name] for r in group if name in r["ratio"]) for name in names}
            best = mean(min(r["ratio"].values()) for r in group if r["ratio"])
            values = " | ".join(f"**{means[name]:.2f}**" for name in names)
            rows.append(f"| {cell}, geometric mean | {threads} | | {values} | **{best:.2f}** |")
    return "\n".join(rows)


def passes(results, which):
    """Return a Markdown table of one pass, one row a size."""
    rows = [
        "| C, H, N, T | threads | " + " | ".join(f"{c}: ms | torch / numbarnn" for c in ("LSTM", "GRU", "RNN")) + " |"
    ]
    rows.append("|---|---|" + "---|---|" * 3)
    chosen = [r for r in results if r["pass"] == which]
    for threads in dict.fromkeys(r["threads"] for r in chosen):
        for size in dict.fromkeys(tuple(r["size"]) for r in chosen):
            cells = {r["cell"]: r for r in chosen if tuple(r["size"]) == size and r["threads"] == threads}
            values = [
                f"{cells[c]['ms']['numbarnn']:.3g} | {cells[c]['ratio'].get('torch', float('nan')):.2f}"
                if c in cells
                else "| "
                for c in ("LSTM", "GRU", "RNN")
            ]
            rows.append(f"| {', '.join(map(str, size))} | {threads} | " + " | ".join(values) + " |")
        means = []
        for c in ("LSTM", "GRU", "RNN"):
            ratios = [
                r["ratio"]["torch"]
                for r in chosen
                if r["cell"] == c and r["threads"] == threads and "torch" in r["ratio"]
            ]
            means.append(f"| **{mean(ratios):.2f}**")
        rows.append(f"| geometric mean | {threads} | " + " | ".join(means) + " |")
    return "\n".join(rows)


def start(results):
    """Return a Markdown table of the start-up figures."""
    rows = ["| start-up | |", "|---|---|"]
    return "\n".join(rows + [f"| {name} | {value} |" for name, value in results.items()])


def shakespeare(results):
    """Return a Markdown table of training on Tiny Shakespeare."""
    rows = ["| engine | seconds | nats per character, held out |", "|---|---|---|"]
    for name, result in results["engines"].items():
        rows.append(f"| {name} | {result['seconds']:.0f} | {result['nats']:.3f} |")
    return "\n".join(rows)


def write(path, results):
    """Replace what stands between the marks ``<!-- name -->`` and ``<!-- end -->`` of a file by the tables."""
    text = path.read_text("utf-8")
    about = results["machine"]
    parts = {
        "machine": f"Measured on {about['cpu']}, "
        + ", ".join(f"{k} {v}" for k, v in about.items() if k not in ("cpu",))
        + ".",
        "bptt": passes(results["passes"], "forward + BPTT"),
        "forward": peers(results["passes"]),
    }
    if "streams" in results:
        parts["streams"] = streams(results["streams"])
    if "startup" in results:
        parts["startup"] = start(results["startup"])
    if "shakespeare" in results:
        parts["shakespeare"] = shakespeare(results["shakespeare"])
    for name, table in parts.items():
        pattern = re.compile(rf"(<!-- {name} -->\n).*?(<!-- end -->)", re.DOTALL)
        if not pattern.search(text):
            raise SystemExit(f"{path} has no marks for {name!r}")
        text = pattern.sub(lambda found, table=table: f"{found[1]}{table}\n{found[2]}", text)
    path.write_text(text, "utf-8")
