"""Worked examples that vendors publish, each with its address and the convention it is counted by.

`figure` is what we compute from the source's own inputs; `says` what the source prints, to as many decimals. Where a
source counts otherwise than we do by default, `differs` says how, and the example is computed by its convention.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from decimal import ROUND_HALF_UP, Decimal
from fractions import Fraction
from typing import Any

import pytest

from cs_mcp.domain.revenue.conventions import Conventions
from cs_mcp.domain.revenue.ledger import SubscriptionSpan, derive_movements
from cs_mcp.domain.revenue.metrics import (
    Lost,
    Renewed,
    concentration,
    discounted,
    lifespan,
    margin_over_churn,
    over_lifespan,
    quick_ratio,
)
from cs_mcp.domain.revenue.retention import Bar, Posting, Retention, retention
from cs_mcp.domain.revenue.subscriptions import MovementKind

_DAY = date(2026, 1, 15)
CHARTMOGUL = "https://help.chartmogul.com/hc/en-us/articles/"
KLIPFOLIO = "https://www.klipfolio.com/metrics/difference/"
PADDLE = "https://www.paddle.com/help/profitwell-metrics/measure/"


def window(opening: dict[str, int], *moved: tuple[str, str, int], **conventions: Any) -> Retention:
    postings = [Posting(account, _DAY, MovementKind(kind), amount) for account, kind, amount in moved]
    return retention(opening, postings, Conventions(**conventions))


def lost(opening: dict[str, int], *moved: tuple[str, str, int], **conventions: Any) -> Lost:
    return Lost.of(window(opening, *moved, **conventions).cohort)


def logos(kept: int, left: int, joined: int = 0, joined_left: int = 0, **conventions: Any) -> Retention:
    """A window of customers who pay 1 each."""
    opening = {f"old{n}": 1 for n in range(kept + left)}
    moved = [(f"old{n}", "churn", -1) for n in range(left)]
    moved += [(f"new{n}", "new", 1) for n in range(joined)] + [(f"new{n}", "churn", -1) for n in range(joined_left)]
    return window(opening, *moved, **conventions)


def every_churn(found: Retention) -> Fraction:
    return Fraction(len(found.by_bar[Bar.churn]), found.accounts_at_start)


def ratio(won: int, gone: int) -> Fraction | None:
    return quick_ratio(window({"there": 10**9}, ("new", "new", won), ("there", "contraction", -gone)).total)


def kinds(*spans: tuple[int, str, str | None]) -> list[tuple[str, int, str]]:
    """Kind, cents and day of what the ledger derives from subscriptions (cents, first day, first day without)."""
    derived = derive_movements(
        SubscriptionSpan(
            account="a",
            subscription=str(number),
            arr_minor=cents,
            starts_on=date.fromisoformat(start),
            first_day_without=date.fromisoformat(end) if end else None,
        )
        for number, (cents, start, end) in enumerate(spans)
    )
    return [(movement.kind.value, movement.amount_minor, str(movement.on)) for movement in derived]


def renewed(renewals: int, due: int) -> Fraction | None:
    return Renewed(due, renewals, on_time=0, due_arr=0, renewed_arr=0, with_concession=0).by_count


@dataclass(frozen=True)
class Published:
    source: str
    figure: Callable[[], Fraction | None]
    says: str  # percent where it ends so
    differs: str = ""


# ChartMogul's month: 100 at its start, 10 churned, 10 contracted, one customer up by 10.
_MONTH = (
    {"left": 10, "less": 20, "more": 70},
    ("left", "churn", -10),
    ("less", "contraction", -10),
    ("more", "expansion", 10),
)
_UPGRADED_THEN_LEFT = ({"a": 500}, ("a", "expansion", 879), ("a", "churn", -1379))
_JULY = (950, 50, 500, 12)
_AUGUST = (1438 - 72, 72, 500, 12)  # 5 % of 1,438 is 71.9
_SCENARIO_A = {"up": 2000, "down1": 2000, "down2": 2000, "gone": 2000, "rest": 96 * 2000}
_SCENARIO_B = {"up": 20_000, "down1": 20_000, "down2": 20_000, "gone": 20_000, "rest": 6 * 20_000}

PUBLISHED = [
    # -- NRR and GRR
    Published(
        "https://churnzero.net/churnopedia/net-revenue-retention/ (27,000 up to 35,000 by upsells, 5,000 expired)",
        lambda: window({"up": 22_000, "gone": 5_000}, ("up", "expansion", 8_000), ("gone", "churn", -5_000)).nrr,
        "111 %",
    ),
    Published(
        f"{KLIPFOLIO}mrr-renewal-rate-vs-net-mrr-churn-rate (scenario A: 100 customers of 2,000)",
        lambda: (
            window(
                _SCENARIO_A,
                ("up", "expansion", 4_000),
                ("down1", "contraction", -500),
                ("down2", "contraction", -500),
                ("gone", "churn", -2_000),
            ).nrr
        ),
        "100.5 %",
    ),
    Published(
        f"{KLIPFOLIO}mrr-renewal-rate-vs-net-mrr-churn-rate (scenario B: 10 renewals of 20,000 due)",
        lambda: (
            window(
                _SCENARIO_B,
                ("up", "expansion", 5_000),
                ("down1", "contraction", -2_000),
                ("down2", "contraction", -2_000),
                ("gone", "churn", -20_000),
            ).nrr
        ),
        "90.5 %",
        differs="prints 95.0 %: its quotient is 19,000 / 20,000, where its own sum, 20,000 × 9 + 5,000 − 2,000 × 2, is "
        "181,000 of 200,000",
    ),
    Published(
        "https://chargebee.com/docs/2.0/recurring-revenue.html (5,000 grew to 6,000: minimum of both / 5,000)",
        lambda: window({"a": 5_000}, ("a", "expansion", 1_000)).grr,
        "100 %",
        differs="prints '5000/5000 = 1%' for the ratio 1",
    ),
    # -- revenue churn
    Published(f"{CHARTMOGUL}203359341-Metric-MRR-Churn-Rate (gross)", lambda: lost(*_MONTH).revenue_churn, "20 %"),
    Published(
        f"{CHARTMOGUL}4414075567250-Chart-Net-MRR-Churn-Rate (standard formula)",
        lambda: lost(*_MONTH).net_churn,
        "10 %",
        differs="offsets every reactivation; ours only one of an account of the cohort. There is none here",
    ),
    Published(
        f"{CHARTMOGUL}4414075567250-Chart-Net-MRR-Churn-Rate (Shopify formula, one day: 100 to 120, 10 of it new)",
        lambda: lost({"a": 100}, ("a", "expansion", 10), ("b", "new", 10)).net_churn,
        "-10 %",
        differs="sums the rates of days; a window of one day is the same",
    ),
    Published(
        f"{CHARTMOGUL}203359341-Metric-MRR-Churn-Rate (Shopify formula, one day: 100 to 95)",
        lambda: lost({"a": 100}, ("a", "contraction", -5)).revenue_churn,
        "5 %",
        differs="sums the rates of days; a window of one day is the same",
    ),
    Published(
        "https://changelog.baremetrics.com (500 upgraded to 1,379, then churned; as it is now)",
        lambda: lost(*_UPGRADED_THEN_LEFT).revenue_churn,
        "100 %",
    ),
    Published(
        "https://changelog.baremetrics.com (500 upgraded to 1,379, then churned; as it was before)",
        lambda: lost(*_UPGRADED_THEN_LEFT, netting="none").revenue_churn,
        "275.8 %",
        differs="every movement counts by itself (netting: none)",
    ),
    Published(
        f"{KLIPFOLIO}gross-mrr-churn-rate-vs-net-mrr-churn-rate (2,000 of 100,000)",
        lambda: lost({"a": 98_000, "b": 2_000}, ("b", "churn", -2_000)).revenue_churn,
        "2 %",
    ),
    Published(
        f"{KLIPFOLIO}gross-mrr-churn-rate-vs-net-mrr-churn-rate (example A: 50,000, up 7,000, down 10,000)",
        lambda: lost({"a": 40_000, "b": 10_000}, ("a", "expansion", 7_000), ("b", "churn", -10_000)).net_churn,
        "6.0 %",
    ),
    Published(
        f"{KLIPFOLIO}gross-mrr-churn-rate-vs-net-mrr-churn-rate (example B: 100,000, up 12,000, down 7,000)",
        lambda: lost({"a": 93_000, "b": 7_000}, ("a", "expansion", 12_000), ("b", "churn", -7_000)).net_churn,
        "-5.0 %",
    ),
    Published(
        "https://support.chargebee.com/support/solutions/articles/264186 (a plan of 100 becomes one of 70: revenue)",
        lambda: lost({"a": 100}, ("a", "contraction", -30)).revenue_churn,
        "30 %",
    ),
    # -- logos
    Published(
        "https://support.chargebee.com/support/solutions/articles/264186 (a plan of 100 becomes one of 70: customers)",
        lambda: window({"a": 100}, ("a", "contraction", -30)).logo_churn_rate,
        "0 %",
    ),
    Published(
        "https://vdocuments.net/wednesday-ss-david-skok-final-customer-churn-vs-dollar-churn-customer-1-1k-mrr.html "
        "(David Skok: customers of 1k and 5k, the second leaves: customer churn)",
        lambda: window({"1": 1_000, "2": 5_000}, ("2", "churn", -5_000)).logo_churn_rate,
        "50 %",
    ),
    Published(
        "https://vdocuments.net/wednesday-ss-david-skok-final-customer-churn-vs-dollar-churn-customer-1-1k-mrr.html "
        "(David Skok: dollar churn)",
        lambda: lost({"1": 1_000, "2": 5_000}, ("2", "churn", -5_000)).revenue_churn,
        "83 %",
    ),
    Published(
        "https://cloudblue.com/glossary/gross-retention (1,000 customers, 950 at the end, 100 of them new)",
        lambda: 1 - (logos(850, 150, joined=100).logo_churn_rate or Fraction(0)),
        "85 %",
    ),
    Published(
        "https://recurly.com/blog/better-way-to-calculate-your-churn-rate/ (July, basic formula)",
        lambda: every_churn(logos(*_JULY, new_and_churned="shown")),
        "6.2 %",
        differs="counts who joined and left within the month; our rate is of the opening cohort, see below",
    ),
    Published(
        "https://recurly.com/blog/better-way-to-calculate-your-churn-rate/ (of these original customers, 5% leave)",
        lambda: logos(*_JULY).logo_churn_rate,
        "5 %",
    ),
    Published(
        "https://blog.recurly.com/2014/08/better-way-to-calculate-your-churn-rate (August, basic formula)",
        lambda: every_churn(logos(*_AUGUST, new_and_churned="shown")),
        "5.8 %",
        differs="counts who joined and left within the month",
    ),
    Published(
        "https://churnzero.net/churnopedia/renewal-rate/ (churn of 2 %)",
        lambda: 1 - (logos(98, 2).logo_churn_rate or Fraction(0)),
        "98 %",
        differs="calls 1 − churn a renewal rate; ours is of contracts due",
    ),
    Published(
        "https://churnzero.net/churnopedia/renewal-rate/ (negative churn of -5 %)",
        lambda: 1 - (lost({"a": 100}, ("a", "expansion", 5)).net_churn or Fraction(0)),
        "105 %",
        differs="calls 1 − net churn a renewal rate; ours calls it NRR",
    ),
    # -- quick ratio
    *(
        Published(
            f"https://learn.profitwell.com/l/en/article/sxsipjlziy-saa-s-quick-ratio ({won:,} / {gone:,})",
            lambda won=won, gone=gone: ratio(won, gone),
            says,
        )
        for won, gone, says in ((24_000, 4_000, "6"), (30_000, 10_000, "3"), (40_000, 20_000, "2"))
    ),
    # -- lifetime value
    Published(
        f"{CHARTMOGUL}203359061-Metric-Customer-Lifetime-Value-LTV- (ARPA 100, churn 5 % a month)",
        lambda: margin_over_churn(Fraction(100), Fraction(1), Fraction(5, 100)),
        "2000",
        differs="revenue, no margin: a margin of 1",
    ),
    Published(
        "https://learn.profitwell.com/article/xJx5sQX95w-life-time-value (ARPU 10, churn 4 % a month)",
        lambda: margin_over_churn(Fraction(10), Fraction(1), Fraction(4, 100)),
        "250",
        differs="revenue, no margin: a margin of 1",
    ),
    Published(
        "https://www.goodreads.com/notes/18897969-lean-analytics/90729572-robbie-amrein (Lean Analytics: 2.5 %)",
        lambda: lifespan(Fraction(25, 1000)),
        "40",
    ),
    Published(
        "https://slidetodoc.com/starbucks-clv-calculation-case-study-case-study-starbucks/ (Kissmetrics: simple, "
        "52 weeks × 24.30 × 20 years)",
        lambda: over_lifespan(52 * Fraction("24.30"), Fraction(20)),
        "25272",
    ),
    Published(
        "http://blog.kissmetrics.com/how-to-calculate-lifetime-value/ (the mean of its simple, custom and traditional "
        "equations, the last with 10 % discount and 75 % retention on a margin of 5382.94)",
        lambda: (
            (
                over_lifespan(52 * Fraction("24.30"), Fraction(20))
                + over_lifespan(52 * Fraction("5.90") * Fraction("4.2"), Fraction(20)) * Fraction("0.213")
                + (discounted(Fraction("5382.94"), Fraction(1), Fraction(1, 4), Fraction(1, 10)) or 0)
            )
            / 3
        ),
        "14099",
        differs="takes the margin of a whole lifespan for that of one period",
    ),
    # -- renewals and concentration
    Published("https://www.chargebee.com/resources/glossaries/what-is-renewal-rate/", lambda: renewed(90, 100), "90 %"),
    Published("https://userpilot.com/blog/renewal-rate-vs-retention-rate", lambda: renewed(180, 250), "72 %"),
    Published(
        "https://www.saasgrid.com/docs/customer-concentration (20 customers, 500; the largest 100)",
        lambda: concentration([100, *[21] * 18, 22], 500)[1],
        "20 %",
    ),
    Published(
        "https://coefficient.io/calculate/customer-concentration (60,000 of 100,000 from five)",
        lambda: concentration([20_000, 15_000, 10_000, 8_000, 7_000, 5_000], 100_000)[5],
        "60 %",
    ),
]


@pytest.mark.parametrize("example", PUBLISHED, ids=lambda example: example.source.split("//")[1][:60])
def test_a_published_figure_is_ours_too(example: Published) -> None:
    figure = example.figure()

    assert figure is not None
    number, _, percent = example.says.partition(" ")
    shown = Decimal(figure.numerator) * (100 if percent else 1) / Decimal(figure.denominator)
    assert shown.quantize(Decimal(1).scaleb(-len(number.partition(".")[2])), ROUND_HALF_UP) == Decimal(number)


def test_who_came_and_went_within_the_month_is_left_out_or_shown() -> None:
    """paddle.com/help/profitwell-metrics/measure/subscription-retention/are-cancellations-in-the-first-month-counted-
    as-churn: 100 on 12/5, gone on 12/6: never churn. Stripe, Maxio and ReCharge count it in both (ProfitWell's own
    comparisons, PADDLE + "compare/"): `new_and_churned: shown`.
    """
    moved = (("a", "new", 100), ("a", "churn", -100))

    left_out, shown = window({}, *moved).total, window({}, *moved, new_and_churned="shown").total

    assert (left_out.new, left_out.churn, left_out.ending_arr) == (0, 0, 0)
    assert (shown.new, shown.churn, shown.ending_arr) == (100, 100, 0)


def test_a_customers_story_is_told_in_chartmoguls_movements() -> None:
    """CHARTMOGUL 201244842: four yearly plans (2,000 / 12), two monthly ones beside them, which are canceled, then all
    canceled, and three monthly ones when they come back.
    """
    yearly, monthly, again = (166_67, "2025-01-01", "2026-01-01"), (60_00, "2025-01-04", "2025-01-18"), "2026-03-01"

    assert kinds(yearly, monthly, (150_00, again, None)) == [
        ("new", 166_67, "2025-01-01"),
        ("expansion", 60_00, "2025-01-04"),
        ("contraction", -60_00, "2025-01-18"),
        ("churn", -166_67, "2026-01-01"),
        ("reactivation", 150_00, again),
    ]


def test_who_cancels_churns_when_the_paid_time_is_over() -> None:
    """paddle.com/help/profitwell-metrics/measure/subscription-retention/churn: Sarah signs up on April 15th for 10,
    cancels on June 8th and churns on June 15th.
    """
    assert kinds((10_00, "2026-04-15", "2026-06-15")) == [("new", 10_00, "2026-04-15"), ("churn", -10_00, "2026-06-15")]
