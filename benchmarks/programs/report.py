"""The Markdown page of the nine programs."""

from __future__ import annotations

from benchmarks import evidence


def markdown(result: evidence.Json) -> str:
    """The Markdown page."""
    lines = ["# Nine real programs", "", evidence.about(result)]
    lines += [
        "Calls and failed lookups: fsprobe's / counted in the text of a plain `strace -f` log of another run of the same program. "
        "Requests: those of a client with a cold cache, predicted. Programs with workers, pools and timers (dask, ray, nbconvert) do "
        "not make the same calls in two runs.",
        "",
        "| program | version | calls | difference | failed lookups | interpreters | requests | first findings |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in result["programs"]:
        version = ", ".join(f"{name} {number}" for name, number in row["versions"].items())
        if "failed" in row:
            lines.append(f"| {row['name']} | {version} | not measured: {row['failed']} | | | | | |")
            continue
        ours, theirs = row["fsprobe"], row["independent"]
        difference = (ours["n_metadata"] - theirs["n_metadata"]) / theirs["n_metadata"]
        found = ", ".join(
            f["code"] + "".join(f" ({n:,} {what})" for what, n in f["saves"].items()) for f in row["findings"][:3]
        )
        lines.append(
            f"| {row['name']} | {version} | {ours['n_metadata']:,} / {theirs['n_metadata']:,} | {difference:+.2%} | "
            f"{ours['n_not_found']:,} / {theirs['n_not_found']:,} | {ours['n_python']} / {theirs['n_python']} | "
            f"{row['n_requests'] or 0:,} | {found} |"
        )
    for package, why in result["not_installed"].items():
        lines += ["", f"Not installed: {package} ({why})."]
    for row in result["programs"]:
        if "failed" in row:
            continue
        lines += ["", f"## {row['name']}", "", row["headline"], "", row["verdict"]]
        for finding in row["findings"]:
            lines += ["", f"- **{finding['code']}** {finding['evidence']} {finding['advice']}"]
            lines += [f"  `{command}`" for command in finding["commands"]]
    return "\n".join(lines) + "\n"
