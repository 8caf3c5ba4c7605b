# What one recording says: a marimo notebook.
#
#     pip install 'allocsim[notebook]'
#     marimo edit docs/examples/notebook.py
#
# It begins with a recording that is shipped with the repository; the first field takes another.

import marimo

__generated_with = "0.25.2"
app = marimo.App(width="medium", app_title="allocsim")


@app.cell
def _():
    import marimo as mo
    import matplotlib.pyplot as plt
    import polars as pl

    import allocsim

    return allocsim, mo, pl, plt


@app.cell
def _(mo):
    mo.md("""
    # What one recording says

    A recording of the kernel's kmem events is replayed through allocsim's model of SLUB and of the
    page allocator. Below: what was recorded, how many reference-count operations each policy saves
    and how that is known, who allocates, and what other sheaf capacities would do.
    """)
    return


@app.cell
def _(mo):
    trace = mo.ui.text("traces/7.2p-hackbench-gt", label="Trace set or recording", full_width=True)
    trace
    return (trace,)


@app.cell
def _(allocsim, mo, trace):
    about = allocsim.info(trace.value)
    mo.plain_text(about.text())
    return (about,)


@app.cell
def _(allocsim, trace):
    # In a temporary database, which is gone when this cell is run again or the notebook ends.
    results = allocsim.replay(trace.value)
    return (results,)


@app.cell
def _(mo):
    mo.md("""
    ## Reference counts

    Locked instructions on page reference counts under each policy, and how many fewer by freezing
    than if every page were counted. *observed*: in page_ref events; *inferred*: from them, by the
    rules of another kernel; *assumed* where there are none: then `locked_ops_low` and
    `locked_ops_high` are the range.
    """)
    return


@app.cell
def _(pl, results):
    policies = (
        results.view("policy_summary")
        .select(
            "policy",
            "locked_ops",
            "locked_ops_low",
            "locked_ops_high",
            "frozen_ops_saved",
            pl.col("frozen_saved_pct").round(2),
            "use_how",
        )
        .collect()
    )
    policies
    return (policies,)


@app.cell
def _(mo):
    mo.md("""
    ## Who allocates

    The call sites that allocate most, by bytes given; waste is what was given and not asked for.
    """)
    return


@app.cell
def _(pl, results):
    callers = (
        results.view("call_site_summary")
        .group_by("symbol")
        .agg(pl.col("allocs", "bytes_req", "bytes_alloc", "waste_bytes").sum())
        .sort("bytes_alloc", descending=True)
        .head(10)
        .collect()
    )
    callers
    return (callers,)


@app.cell
def _(mo):
    mo.md("""
    ## Pages over time

    Base pages held at the end of each time slice, less those held when the recording began, of the
    six kinds with the most; how their kinds are known says the view `page_kind_summary`.
    """)
    return


@app.cell
def _(pl, plt, results):
    live = (
        results.view("timeline")
        .filter(pl.col("policy") == "refcounted")
        .select("seconds", "page_kind", "live_pages")
        .collect()
    )
    largest = (
        live.group_by("page_kind")
        .agg(pl.col("live_pages").max())
        .sort("live_pages", descending=True)["page_kind"]
        .head(6)
        .to_list()
    )
    figure, axes = plt.subplots(figsize=(8, 3.2), layout="constrained")
    for kind in largest:
        of_kind = live.filter(pl.col("page_kind") == kind).sort("seconds")
        axes.step(of_kind["seconds"], of_kind["live_pages"], where="post", label=kind)
    axes.set_xlabel("seconds since the first event")
    axes.set_ylabel("pages held, less those at the start")
    axes.legend(frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
    figure
    return (live,)


@app.cell
def _(mo):
    mo.md("""
    ## What if: the capacity of sheaves

    The same requests through the model with other sheaf capacities. The first row, without a
    capacity, is the recorded kernel as it was. All rows are the model's.
    """)
    return


@app.cell
def _(allocsim, pl, trace):
    swept = (
        allocsim.sweep(trace.value, {"sheaf.capacity": [4, 8, 16, 32, 60]})
        .with_columns(
            pl.col("fastpath_pct").round(1),
            capacity=pl.col("settings").str.json_path_match("$['sheaf.capacity']").cast(pl.Int64),
        )
        .select("capacity", "fastpath_pct", "refills", "flushes", "barn_traffic", "slab_allocs")
        .collect()
    )
    swept
    return (swept,)


@app.cell
def _(plt, swept):
    varied = swept.drop_nulls("capacity")
    tradeoff, (left, right) = plt.subplots(1, 2, figsize=(8, 3), layout="constrained")
    left.plot(varied["capacity"], varied["fastpath_pct"], marker="o")
    left.set_ylabel("fast path, % of operations, at least")
    for name in ("refills", "flushes"):
        right.plot(varied["capacity"], varied[name], marker="o", label=name)
    right.set_ylabel("times")
    right.legend(frameon=False)
    for each in (left, right):
        each.set_xlabel("objects in a sheaf")
        each.set_ylim(bottom=0)
    tradeoff
    return


@app.cell
def _(mo):
    mo.md("""
    ## Anything else

    Every view is a lazy frame of polars, and `results.sql` takes SQL that reads. Which are there:
    `results.views`, `results.tables`.
    """)
    return


@app.cell
def _(results):
    asked = results.sql("""
        select page_kind, caller, cache, locked_ops_saved, verdict
        from freezability where scope = 'caller' and locked_ops_saved > 0
        order by locked_ops_saved desc limit 8
    """).collect()
    asked
    return (asked,)


if __name__ == "__main__":
    app.run()
