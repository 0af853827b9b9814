"""Settings of a server that counts nothing: what is not about rate limits is not to meet them, or to wait for them.

Nor does it wait as long as Notion for requests whose answers got lost: in a stand-in they take effect at once.
"""

from typing import Final

UNLIMITED: Final = {
    "cost_per_minute": 0,
    "generations_per_minute": 0,
    "sign_ins_per_minute": 0,
    "sign_ups_per_hour": 0,
    "notion_requests_per_minute": 6_000,
    "notion_settling_seconds": 3,
}
