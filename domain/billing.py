"""What a call to a provider is billed for, however it has ended, and what that costs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from uuid import UUID

from domain.errors import ProviderFailureReason
from domain.generation import Failure
from domain.pricing import Pricing
from domain.provider import Provider, ProviderRequest, Usage
from domain.provider_attempt import AttemptStatus, ProviderAttempt
from domain.store import Transaction
from domain.token_estimate import completed_usage

NOTHING = Usage(input_tokens=0, output_tokens=0)

# The provider has said no in place of an answer, or was never reached: nobody bills that.
_REFUSALS = frozenset(
    reason.value
    for reason in (
        ProviderFailureReason.AUTHENTICATION,
        ProviderFailureReason.NO_BALANCE,
        ProviderFailureReason.RATE_LIMITED,
        ProviderFailureReason.OVERLOADED,
        ProviderFailureReason.CONTEXT_TOO_LONG,
        ProviderFailureReason.REFUSED,
        ProviderFailureReason.REJECTED,
        ProviderFailureReason.UNREACHABLE,
    )
)


def billed_usage(
    request: ProviderRequest,
    *,
    status: AttemptStatus,
    failure: Failure | None,
    reported: Usage | None,
    text: str,
    reasoning: str,
) -> Usage:
    """The tokens of a call that was sent: as the provider has told, or as many as it is likely to count.

    `text` and `reasoning` are what has arrived. A call that broke off is billed by most providers as far as it came.
    """
    if status is AttemptStatus.SUCCEEDED and reported is not None:
        return reported
    is_refused = failure is not None and failure.reason in _REFUSALS
    if is_refused and reported is None and not text and not reasoning:
        return NOTHING
    return completed_usage(
        reported, prompt=request.prompt, system_prompt=request.system_prompt, text=text, reasoning=reasoning
    )


class Biller:
    """Puts a price on calls."""

    def __init__(self, pricing: Pricing) -> None:
        self._pricing = pricing

    def priced(self, attempt: ProviderAttempt, provider: Provider, usage: Usage) -> ProviderAttempt:
        """The call with these tokens and their cost, at the prices of its start."""
        cost = self._pricing.cost(provider, attempt.model, usage, at=attempt.started_at)
        return replace(
            attempt,
            usage=usage,
            cost=None if cost is None else cost.usd,
            price_version=None if cost is None else cost.price_version,
        )

    async def bill_abandoned(self, tx: Transaction, generation_ids: Sequence[UUID]) -> None:
        """Bills the calls of runs whose server has died: nobody has heard what they cost, so that is estimated.

        Whether the last words of such a call were billed nobody knows; counted is what was stored of the answer.
        """
        unbilled = await tx.provider_attempts.list_unbilled(generation_ids)
        if not unbilled:
            return
        # Those that were switched off meanwhile too: they bill what was asked of them before.
        providers = {provider.id: provider for provider in await tx.providers.list_all()}
        for attempt in unbilled:
            provider = providers.get(attempt.provider_id)
            if provider is None or attempt.generation_id is None:
                continue
            found = await tx.generations.list_transcripts(attempt.user_id, [attempt.generation_id])
            transcript = found[attempt.generation_id]
            usage = completed_usage(
                None,
                prompt=transcript.prompt,
                system_prompt=transcript.system_prompt,
                text=transcript.content,
                reasoning=transcript.reasoning,
            )
            await tx.provider_attempts.bill(self.priced(attempt, provider, usage))
