"""Compares the sums that triggers keep with what they are the sums of, and makes them anew."""

from __future__ import annotations

from typing import Final

from sqlalchemy import text

from domain.books import Balance
from persistence.statements import Statements

# What a generation's bill has to be, and what each period's spending and reservations have to be.
_COUNTED: Final = """
    bills AS (
        SELECT generation_id, CASE WHEN count(*) = count(cost_usd) THEN sum(cost_usd) END AS cost
        FROM provider_attempts WHERE status <> 'RUNNING' AND generation_id IS NOT NULL GROUP BY generation_id
    ),
    generations AS (
        SELECT id, cost_usd AS kept, bills.cost AS counted
        FROM content_history LEFT JOIN bills ON generation_id = id
        -- One that was answered without a call has none, and costs nothing.
        WHERE generation_id IS NOT NULL OR cost_usd <> 0
    ),
    periods AS (SELECT * FROM (VALUES ('DAY'), ('MONTH')) AS names (period)),
    spent AS (
        SELECT user_id, period, date_trunc(period, started_at AT TIME ZONE 'UTC')::date AS first_day,
            coalesce(sum(cost_usd), 0) AS spent, (count(*) - count(cost_usd))::integer AS unpriced
        FROM provider_attempts CROSS JOIN periods WHERE status <> 'RUNNING' GROUP BY 1, 2, 3
    ),
    reserved AS (
        SELECT user_id, period, date_trunc(period, created_at AT TIME ZONE 'UTC')::date AS first_day,
            sum(reserved_usd) AS reserved
        FROM content_history CROSS JOIN periods
        WHERE status IN ('QUEUED', 'RUNNING') AND reserved_usd IS NOT NULL GROUP BY 1, 2, 3
    ),
    budgets AS (
        SELECT user_id, period, first_day,
            coalesce(spent.spent, 0) AS spent, coalesce(spent.unpriced, 0) AS unpriced,
            coalesce(reserved.reserved, 0) AS reserved,
            coalesce(kept.spent_usd, 0) AS kept_spent, coalesce(kept.unpriced_count, 0) AS kept_unpriced,
            coalesce(kept.reserved_usd, 0) AS kept_reserved
        FROM spent
        FULL JOIN reserved USING (user_id, period, first_day)
        FULL JOIN budget_periods AS kept USING (user_id, period, first_day)
    )
"""

# One statement, and so one moment, however much is spent meanwhile.
_COMPARE: Final = text(f"""
WITH {_COUNTED}
SELECT 'bills of generations' AS name, coalesce(sum(counted), 0) AS counted, coalesce(sum(kept), 0) AS kept,
    count(*) FILTER (WHERE kept IS DISTINCT FROM counted) AS differing
FROM generations
UNION ALL
SELECT 'spent by ' || lower(period), coalesce(sum(spent), 0), coalesce(sum(kept_spent), 0),
    count(*) FILTER (WHERE (kept_spent, kept_unpriced) <> (spent, unpriced))
FROM periods LEFT JOIN budgets USING (period) GROUP BY period
UNION ALL
SELECT 'reserved by ' || lower(period), coalesce(sum(reserved), 0), coalesce(sum(kept_reserved), 0),
    count(*) FILTER (WHERE kept_reserved <> reserved)
FROM periods LEFT JOIN budgets USING (period) GROUP BY period
ORDER BY name
""")  # noqa: S608  (both parts are constants)

_BILL_ANEW: Final = text(f"""
WITH {_COUNTED}
UPDATE content_history AS generation SET
    cost_usd = generations.counted,
    price_version = CASE WHEN generations.counted IS NOT NULL THEN (
        SELECT string_agg(DISTINCT price_version, '; ') FROM provider_attempts
        WHERE generation_id = generation.id AND status <> 'RUNNING'
    ) END
FROM generations
WHERE generation.id = generations.id AND generations.kept IS DISTINCT FROM generations.counted
""")  # noqa: S608  (both parts are constants)

_ADD_ANEW: Final = text(f"""
WITH {_COUNTED}
INSERT INTO budget_periods AS kept (user_id, period, first_day, spent_usd, unpriced_count, reserved_usd)
SELECT user_id, period, first_day, spent, unpriced, reserved FROM budgets
WHERE (spent, unpriced, reserved) <> (kept_spent, kept_unpriced, kept_reserved)
ON CONFLICT (user_id, period, first_day) DO UPDATE SET
    spent_usd = excluded.spent_usd, unpriced_count = excluded.unpriced_count, reserved_usd = excluded.reserved_usd
""")  # noqa: S608  (both parts are constants)

# Whoever has changed a sum is waited for, and whoever wants to change one waits: nothing is counted twice or left out.
_KEEP_OTHERS_OUT: Final = text("LOCK TABLE budget_periods IN EXCLUSIVE MODE")


class PostgresBooks:
    """Behind the port Books."""

    def __init__(self, statements: Statements) -> None:
        self._statements = statements

    async def compare(self) -> tuple[Balance, ...]:
        """All books, as they are at one moment."""
        rows = await self._statements.rows(_COMPARE)
        return tuple(
            Balance(name=row["name"], counted=row["counted"], kept=row["kept"], differing_count=row["differing"])
            for row in rows
        )

    async def repair(self) -> None:
        """Makes every sum anew of what it is the sum of. Whoever spends waits meanwhile."""
        for statement in (_KEEP_OTHERS_OUT, _BILL_ANEW, _ADD_ANEW):
            await self._statements.run(statement)
