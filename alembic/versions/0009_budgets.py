"""Budgets; whatever ends a call books it, and whatever ends a generation gives its reservation back.

Revision: 0009
Follows: 0008
"""

from __future__ import annotations

from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

_TABLES = (
    """
    CREATE TABLE budget_limits (
        id integer NOT NULL GENERATED ALWAYS AS IDENTITY,
        user_id uuid,
        role text,
        period text NOT NULL,
        limit_usd numeric,
        CONSTRAINT pk_budget_limits PRIMARY KEY (id),
        CONSTRAINT fk_budget_limits_user_id FOREIGN KEY (user_id) REFERENCES users (id) ON DELETE CASCADE,
        CONSTRAINT uq_budget_limits_user_id_period UNIQUE (user_id, period),
        CONSTRAINT uq_budget_limits_role_period UNIQUE (role, period),
        CONSTRAINT ck_budget_limits_has_one_subject CHECK (num_nonnulls(user_id, role) = 1),
        CONSTRAINT ck_budget_limits_limit_is_not_negative
            CHECK (limit_usd >= 0 AND limit_usd < 'Infinity'::numeric),
        CONSTRAINT ck_budget_limits_role CHECK (role IN ('USER', 'ADMIN')),
        CONSTRAINT ck_budget_limits_period CHECK (period IN ('DAY', 'MONTH'))
    )
    """,
    """
    CREATE TABLE budget_periods (
        user_id uuid NOT NULL,
        period text NOT NULL,
        first_day date NOT NULL,
        spent_usd numeric NOT NULL DEFAULT 0,
        reserved_usd numeric NOT NULL DEFAULT 0,
        unpriced_count integer NOT NULL DEFAULT 0,
        CONSTRAINT pk_budget_periods PRIMARY KEY (user_id, period, first_day),
        CONSTRAINT fk_budget_periods_user_id FOREIGN KEY (user_id) REFERENCES users (id) ON DELETE CASCADE,
        CONSTRAINT ck_budget_periods_period CHECK (period IN ('DAY', 'MONTH'))
    ) WITH (fillfactor = 85)
    """,
)

_GIVE_RESERVATION_BACK = """
CREATE FUNCTION give_reservation_back() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    day constant date := (NEW.created_at AT TIME ZONE 'UTC')::date;
BEGIN
    UPDATE budget_periods SET reserved_usd = reserved_usd - NEW.reserved_usd
    WHERE user_id = NEW.user_id AND period = 'DAY' AND first_day = day;
    UPDATE budget_periods SET reserved_usd = reserved_usd - NEW.reserved_usd
    WHERE user_id = NEW.user_id AND period = 'MONTH' AND first_day = date_trunc('month', day)::date;
    RETURN NULL;
END
$$
"""

_ENDED_GENERATION_GIVES_RESERVATION_BACK = """
CREATE TRIGGER ended_generation_gives_reservation_back AFTER UPDATE OF status ON content_history
FOR EACH ROW WHEN (
    OLD.status IN ('QUEUED', 'RUNNING') AND NEW.status NOT IN ('QUEUED', 'RUNNING') AND NEW.reserved_usd IS NOT NULL
)
EXECUTE FUNCTION give_reservation_back()
"""

_BOOK_ATTEMPT = """
CREATE FUNCTION book_attempt() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    day constant date := (NEW.started_at AT TIME ZONE 'UTC')::date;
    spent numeric := coalesce(NEW.cost_usd, 0);
    unpriced integer := (NEW.cost_usd IS NULL)::integer;
BEGIN
    IF TG_OP = 'UPDATE' THEN
        spent := spent - coalesce(OLD.cost_usd, 0);
        unpriced := unpriced - (OLD.status <> 'RUNNING' AND OLD.cost_usd IS NULL)::integer;
    END IF;
    UPDATE content_history SET (
        input_tokens, cached_input_tokens, cache_write_tokens, output_tokens, reasoning_tokens, usage_is_estimated,
        cost_usd, price_version
    ) = (
        SELECT
            sum(input_tokens)::bigint, sum(cached_input_tokens)::bigint, sum(cache_write_tokens)::bigint,
            sum(output_tokens)::bigint, sum(reasoning_tokens)::bigint, bool_or(usage_is_estimated),
            CASE WHEN count(*) = count(cost_usd) THEN sum(cost_usd) END,
            CASE WHEN count(*) = count(cost_usd) THEN string_agg(DISTINCT price_version, '; ') END
        FROM provider_attempts WHERE generation_id = NEW.generation_id AND status <> 'RUNNING'
    )
    WHERE id = NEW.generation_id;
    INSERT INTO budget_periods AS own (user_id, period, first_day, spent_usd, unpriced_count)
    VALUES
        (NEW.user_id, 'DAY', day, spent, unpriced),
        (NEW.user_id, 'MONTH', date_trunc('month', day)::date, spent, unpriced)
    ON CONFLICT (user_id, period, first_day) DO UPDATE SET
        spent_usd = own.spent_usd + excluded.spent_usd, unpriced_count = own.unpriced_count + excluded.unpriced_count;
    RETURN NULL;
END
$$
"""

_ENDED_ATTEMPT_IS_BOOKED = """
CREATE TRIGGER ended_attempt_is_booked AFTER INSERT OR UPDATE OF status, cost_usd, input_tokens ON provider_attempts
FOR EACH ROW WHEN (NEW.status <> 'RUNNING') EXECUTE FUNCTION book_attempt()
"""

# Generations from before there were attempts get one each, so that what they have cost is booked like everything else.
_ATTEMPTS_OF_EARLIER_GENERATIONS = """
INSERT INTO provider_attempts (
    id, user_id, generation_id, provider, model, status, started_at, finished_at,
    input_tokens, cached_input_tokens, cache_write_tokens, output_tokens, reasoning_tokens, cost_usd, price_version,
    failure_code, failure_message, failure_reason, failure_retry_after_seconds
)
SELECT
    gen_random_uuid(), user_id, id, provider, model, status, started_at, greatest(started_at, finished_at),
    input_tokens, cached_input_tokens, cache_write_tokens, output_tokens, reasoning_tokens, cost_usd, price_version,
    CASE WHEN status = 'FAILED' THEN failure_code END,
    CASE WHEN status = 'FAILED' THEN failure_message END,
    CASE WHEN status = 'FAILED' THEN failure_reason END,
    CASE WHEN status = 'FAILED' THEN failure_retry_after_seconds END
FROM content_history AS earlier
WHERE input_tokens IS NOT NULL AND finished_at IS NOT NULL AND started_at IS NOT NULL
    AND NOT EXISTS (SELECT 1 FROM provider_attempts WHERE generation_id = earlier.id)
"""

_SPENT_BEFORE = """
INSERT INTO budget_periods (user_id, period, first_day, spent_usd, unpriced_count)
SELECT
    user_id, period, date_trunc(period, started_at AT TIME ZONE 'UTC')::date,
    coalesce(sum(cost_usd), 0), count(*) - count(cost_usd)
FROM provider_attempts CROSS JOIN (VALUES ('DAY'), ('MONTH')) AS periods (period)
WHERE status <> 'RUNNING'
GROUP BY 1, 2, 3
"""


def upgrade() -> None:
    """Makes them, and books what has been spent so far."""
    for table in _TABLES:
        op.execute(table)
    op.execute(
        "ALTER TABLE content_history ADD COLUMN usage_is_estimated boolean NOT NULL DEFAULT false,"
        " ADD COLUMN reserved_usd numeric,"
        " ADD CONSTRAINT ck_content_history_reserved_is_positive"
        " CHECK (reserved_usd > 0 AND reserved_usd < 'Infinity'::numeric)"
    )
    op.execute("ALTER TABLE provider_attempts ADD COLUMN usage_is_estimated boolean NOT NULL DEFAULT false")
    op.execute("CREATE INDEX ix_provider_attempts_started_at ON provider_attempts (started_at)")
    # From here on no call can end before this is done, and so none is booked twice or not at all.
    op.execute("LOCK TABLE provider_attempts IN SHARE ROW EXCLUSIVE MODE")
    op.execute(_ATTEMPTS_OF_EARLIER_GENERATIONS)
    op.execute(_SPENT_BEFORE)
    for statement in (
        _GIVE_RESERVATION_BACK,
        _ENDED_GENERATION_GIVES_RESERVATION_BACK,
        _BOOK_ATTEMPT,
        _ENDED_ATTEMPT_IS_BOOKED,
    ):
        op.execute(statement)


def downgrade() -> None:
    """Drops them, with all that is known of what was reserved; the calls stay."""
    op.execute("DROP TRIGGER ended_attempt_is_booked ON provider_attempts")
    op.execute("DROP TRIGGER ended_generation_gives_reservation_back ON content_history")
    op.execute("DROP FUNCTION book_attempt()")
    op.execute("DROP FUNCTION give_reservation_back()")
    op.execute("DROP INDEX ix_provider_attempts_started_at")
    op.execute("ALTER TABLE provider_attempts DROP COLUMN usage_is_estimated")
    op.execute("ALTER TABLE content_history DROP COLUMN usage_is_estimated, DROP COLUMN reserved_usd")
    op.execute("DROP TABLE budget_periods")
    op.execute("DROP TABLE budget_limits")
