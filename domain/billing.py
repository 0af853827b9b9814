"""What a call to a provider is billed for, however it has ended."""

from __future__ import annotations

from domain.errors import ProviderFailureReason
from domain.generation import Failure
from domain.provider import ProviderRequest, Usage
from domain.provider_attempt import AttemptStatus
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
