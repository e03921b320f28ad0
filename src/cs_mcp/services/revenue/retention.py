"""Net and gross retention, logo churn and the waterfall of ARR, for any window of the accounts that a caller sees."""

from __future__ import annotations

from cs_mcp.db.revenue.retention_lines import Span
from cs_mcp.db.revenue.retention_reads import RetentionReads
from cs_mcp.db.store import Store
from cs_mcp.domain.identity import Principal
from cs_mcp.domain.revenue.retention import FALLS
from cs_mcp.services.charts import HOW_TO_INSTALL, can_draw, png
from cs_mcp.services.naming import Names
from cs_mcp.services.revenue.charts import Step, waterfall_chart
from cs_mcp.services.revenue.retention_answer import Answer
from cs_mcp.services.revenue.retention_asked import GetRetention, window_of
from cs_mcp.services.revenue.retention_figures import Book
from cs_mcp.services.revenue.retention_views import RetentionView, fitting

__all__ = ["GetRetention", "Retentions"]


class Retentions:
    def __init__(self, store: Store) -> None:
        self._store = store
        self._reads = RetentionReads(store)

    async def get(self, principal: Principal, question: GetRetention) -> RetentionView:
        profile = await self._store.workspace(principal.workspace)
        calendar = profile.calendar
        start, end = window_of(question, calendar.today(self._store.clock.now()))
        owner = None
        if question.owner is not None:
            owner = await Names.reading(self._store, principal).member(question.owner)
        asked = question.conventions.model_dump(exclude_none=True) if question.conventions else {}
        slice_by, _, custom_key = (question.slice_by or "").partition(":")
        book = Book(
            principal=principal,
            calendar=calendar,
            conventions=profile.revenue.retention.model_copy(update=asked),
            owner=owner.id if owner else None,
            slice_by=slice_by or None,
            custom_key=custom_key or None,
            known_on=question.known_on,
        )
        answer = Answer(self._reads, book, question, Span.of(start, end))
        books = "the whole workspace" if principal.sees_all else "the books you see"
        scope = f"accounts owned by {owner.name} today in {books}" if owner is not None else books
        view = await answer.view(scope, profile.currency)
        if question.image:
            view = await _with_picture(view)
        return fitting(view, question.budget_tokens)


async def _with_picture(view: RetentionView) -> RetentionView:
    if not can_draw():
        return view.model_copy(update={"notes": [*view.notes, HOW_TO_INSTALL]})
    falls = {bar.value for bar in FALLS}
    steps = [Step("opening", float(view.total.starting_arr), is_total=True)]
    for bar in ("new", "reactivation", "expansion", "price_change", "contraction", "churn"):
        amount = float(getattr(view.total, bar))
        if amount:
            steps.append(Step(bar.replace("_", " "), -amount if bar in falls else amount))
    steps.append(Step("closing", float(view.total.ending_arr), is_total=True))
    title = f"ARR {view.period_start} to {view.period_end}"
    nrr = "none" if view.nrr is None else f"{view.nrr:.1%}"
    grr = "none" if view.grr is None else f"{view.grr:.1%}"
    chart = waterfall_chart(title, steps, view.currency, subtitle=f"NRR {nrr} · GRR {grr} · {view.scope}")
    return view.model_copy().drawn(await png(chart))
