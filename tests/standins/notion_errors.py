"""Notion's refusals: status, code, wording and additional data, as its API sends them."""

from __future__ import annotations

import json
from typing import Any

# Bodies and objects of a foreign API: their shape is checked against its OpenAPI, not by the type checker.
JSON = dict[str, Any]


class NotionError(Exception):
    """An answer other than 200; `body()` is what goes over the wire."""

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        *,
        additional_data: JSON | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.additional_data = additional_data
        self.headers = headers or {}

    def body(self, *, request_id: str) -> JSON:
        """The error object, keys in Notion's order."""
        body: JSON = {"object": "error", "status": self.status, "code": self.code, "message": self.message}
        if self.additional_data is not None:
            body["additional_data"] = self.additional_data
        return body | {"request_id": request_id}


def shown(value: object) -> str:
    """A value as Notion quotes it: compact JSON, cut after 55 characters."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return f"`{text[:55]}...`" if len(text) > 55 else f"`{text}`"


def invalid(message: str, *, additional_data: JSON | None = None) -> NotionError:
    """400 validation_error with the given wording."""
    return NotionError(400, "validation_error", message, additional_data=additional_data)


def invalid_body(complaint: str) -> NotionError:
    """400 for a body that breaks the schema; `complaint` starts with a path such as `body.children`."""
    return invalid(f"body failed validation: {complaint}")


def invalid_uuid(where: str, value: object) -> NotionError:
    """400 for an id that is none; `where` starts with `path.`, `query.` or `body.`."""
    return invalid(
        f"{where.partition('.')[0]} failed validation: {where} should be a valid uuid, instead was {shown(value)}."
    )


def content_failed(reason: str) -> NotionError:
    """400 for content that passes the schema but cannot be made."""
    return invalid(f"Content creation Failed. Fix the following: \n{reason}")


def not_found(kind: str, object_id: str, *, integration: str, integration_id: str) -> NotionError:
    """404, the same for what does not exist and for what is not shared."""
    return NotionError(
        404,
        "object_not_found",
        f"Could not find {kind} with ID: {object_id}. Make sure the relevant pages and databases are shared with your "
        f'integration "{integration}".',
        additional_data={"integration_id": integration_id},
    )


def unauthorized() -> NotionError:
    """401 for a missing, forged or revoked token."""
    return NotionError(401, "unauthorized", "API token is invalid.")


def restricted() -> NotionError:
    """403 for a connection that lacks the capability."""
    return NotionError(403, "restricted_resource", "Insufficient permissions for this endpoint.")


def unknown_url() -> NotionError:
    """400 for a path or a method that the API does not have."""
    return NotionError(400, "invalid_request_url", "Invalid request URL.")


def missing_version() -> NotionError:
    """400 for a request without Notion-Version."""
    return NotionError(
        400,
        "missing_version",
        "Notion-Version header failed validation: Notion-Version header should be defined, instead was `undefined`.",
    )


def invalid_json() -> NotionError:
    """400 for a body that is not JSON."""
    return NotionError(400, "invalid_json", "Error parsing JSON body.")


def in_trash() -> NotionError:
    """400 for a write to what lies in the trash."""
    return invalid("Can't edit block that is archived. You must unarchive the block before editing.")


def rate_limited(*, retry_after_seconds: int, reason: str) -> NotionError:
    """429 with its header and reason."""
    return NotionError(
        429,
        "rate_limited",
        "You have been rate limited. Please try again in a few minutes.",
        additional_data={"rate_limit_reason": reason, "retry_after": str(retry_after_seconds)},
        headers={"Retry-After": str(retry_after_seconds)},
    )


def saved_but_unavailable(committed: JSON) -> NotionError:
    """503 for a write that was saved although its answer could not be built."""
    return NotionError(
        503,
        "service_unavailable",
        "The change was saved, but the response could not be built in time. Read the object again instead of "
        "repeating the write.",
        additional_data={
            "from": "publicApi.pageObjectPointerToPageObject.beforePreload",
            "elapsed_ms": "55012",
            "deadline_ms": "55000",
            "retry_guidance": ["Read the object again to confirm the saved change.", "Do not repeat the write."],
            **committed,
        },
    )
