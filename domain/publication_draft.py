"""Drafts of publications: where a page would go and what its properties would say, checked with Notion beforehand."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from uuid import UUID

from domain.account import Viewer
from domain.errors import AssistantError, InvalidInput, NotionFailed, NotionFailureReason
from domain.notion import CreatedPage, DocumentParser, Notion, NotionParent, NotionParentKind
from domain.notion_service import NotionService
from domain.property_map import UNTIL_ANSWERED, Placeholder, defaults, filled, find_external_id
from domain.publication import MAX_TITLE_CHARS, Publication, PublishMode
from domain.publication_writer import CLOCK_TOLERANCE
from domain.settings import UserSettings
from domain.settings_service import MAX_REFERENCE_CHARS, checked_json
from domain.text import checked_text, excerpt

DEFAULT_TITLE_CHARS = 80
MAX_PROMPT_CHARS = 2_000


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishOptions:
    """Where to and how; None leaves it to the settings. `parent` is any Notion URL or id.

    To append, `parent` is the page itself. An update goes where the answer is; it `overwrites` what somebody has
    changed there only if that is said.
    """

    parent: str | None = None
    title: str | None = None
    properties: Mapping[str, object] = field(default_factory=dict)
    create_options: bool | None = None
    mode: PublishMode = PublishMode.CREATE
    overwrites: bool = False

    @property
    def are_of_a_page(self) -> bool:
        """Whether they say anything of what is to become of the answer."""
        return self != PublishOptions(overwrites=self.overwrites)


@dataclass(frozen=True, slots=True, kw_only=True)
class PublicationFacts:
    """What is known of the generation that a page is of. `is_answered`: provider and model are those that answered."""

    generation_id: UUID
    prompt: str
    provider: str
    model: str
    created_at: datetime
    is_answered: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class PublicationDraft:
    """A checked wish to publish; placeholders are filled in. `external_id_property` holds the generation's id alone."""

    parent: NotionParent
    title: str
    properties: Mapping[str, object]
    external_id_property: str | None
    mode: PublishMode = PublishMode.CREATE


@dataclass(frozen=True, slots=True, kw_only=True)
class PublicationPreview:
    """What would become of a publication, as far as it can be told; `failures` say why it would be refused.

    `properties` are as Notion would get them. `block_count` and `request_count` are of what would be written.
    """

    parent: NotionParent | None
    title: str
    properties: Mapping[str, object]
    block_count: int
    request_count: int
    degraded: tuple[str, ...]
    failures: tuple[AssistantError, ...]


class PublicationDrafter:
    """Checks wishes to publish.

    A property says what the request gives it, else what the settings do, else what is filled in unasked. The settings
    are about their own parent: of another one they fill the properties that it has by the same names.
    """

    def __init__(
        self,
        *,
        notion: Notion,
        connections: NotionService,
        parse: DocumentParser,
        reference_of: Callable[[UUID], str],
    ) -> None:
        self._notion = notion
        self._connections = connections
        self._parse = parse
        # A generation's id as clients know it.
        self._reference_of = reference_of

    async def draft(
        self, viewer: Viewer, options: PublishOptions, settings: UserSettings, facts: PublicationFacts
    ) -> PublicationDraft:
        """Checks with Notion that a page can be put there.

        Raises InvalidInput with fields under ("publish",), NotionFailed when Notion rejects the token or the parent.
        """
        _check_mode(options)
        title = _title(options, facts)
        parent = await self._parent(viewer, options, settings)
        wanted = self._wanted(parent, options, settings)
        values = self._filled(parent, wanted, viewer, facts, title)
        try:
            self._notion.property_values(parent, values, may_add_options=_may_add_options(options, settings))
        except InvalidInput as error:
            raise _of_property(error) from error
        if not facts.is_answered:
            provider, model = UNTIL_ANSWERED[Placeholder.PROVIDER], UNTIL_ANSWERED[Placeholder.MODEL]
            facts = replace(facts, provider=provider, model=model)
            values = self._filled(parent, wanted, viewer, facts, title)
        return PublicationDraft(
            parent=parent,
            title=title,
            properties=values,
            external_id_property=find_external_id(wanted, parent.properties),
            mode=options.mode,
        )

    async def preview(
        self, viewer: Viewer, options: PublishOptions, settings: UserSettings, facts: PublicationFacts, content: str
    ) -> PublicationPreview:
        """The same without an end at the first thing that is wrong; nothing is written."""
        failures: list[AssistantError] = []
        title = excerpt(facts.prompt, max_chars=DEFAULT_TITLE_CHARS)
        parent: NotionParent | None = None
        values: dict[str, object] = {}
        try:
            _check_mode(options)
            title = _title(options, facts)
        except InvalidInput as error:
            failures.append(error)
        try:
            parent = await self._parent(viewer, options, settings)
            for name, template in self._wanted(parent, options, settings).items():
                try:
                    value = self._filled(parent, {name: template}, viewer, facts, title)
                    may_add_options = _may_add_options(options, settings)
                    values |= self._notion.property_values(parent, value, may_add_options=may_add_options)
                except InvalidInput as error:
                    failures.append(_of_property(error))
        except AssistantError as error:
            failures.append(error)
        document = await asyncio.to_thread(self._parse, content)
        plan = await asyncio.to_thread(self._notion.plan, document)
        return PublicationPreview(
            parent=parent,
            title=title,
            properties=values,
            block_count=plan.block_count,
            request_count=plan.request_count,
            degraded=document.degraded,
            failures=tuple(failures),
        )

    async def _parent(self, viewer: Viewer, options: PublishOptions, settings: UserSettings) -> NotionParent:
        reference = options.parent if options.parent is not None else settings.notion.parent_id
        if reference is None:
            raise InvalidInput(
                "Say where the page goes: a Notion page or data source, by URL or id.", field=("publish", "parent")
            )
        return await self.find_parent(viewer, reference)

    async def find_parent(self, viewer: Viewer, reference: str) -> NotionParent:
        """What a Notion URL or id stands for. Raises like `draft`."""
        checked_text(reference, field=("publish", "parent"), max_chars=MAX_REFERENCE_CHARS)
        token = await self._connections.find_token(viewer.user.id)
        if token is None:
            raise InvalidInput("Connect Notion first, with connectNotion.", field=("publish",))
        try:
            return await self._notion.resolve_parent(token, reference)
        except InvalidInput as error:
            raise InvalidInput(error.message, field=("publish", "parent")) from error
        except NotionFailed as error:
            if error.reason is NotionFailureReason.NOT_SHARED:
                error.field = ("publish", "parent")
            raise

    async def find_page(self, viewer: Viewer, reference: str, earlier: Publication) -> CreatedPage:
        """What a Notion URL or id stands for, if that is a page that was made as the publication had it asked for.

        Raises InvalidInput with fields under ("resolve",), NotionFailed when Notion rejects the token or the page.
        """
        assert earlier.requested_at is not None  # noqa: S101  (asked only then)
        path = ("resolve", "page")
        checked_text(reference, field=path, max_chars=MAX_REFERENCE_CHARS)
        token = await self._connections.find_token(viewer.user.id)
        if token is None:
            raise InvalidInput("Connect Notion first, with connectNotion.", field=("resolve",))
        try:
            return await self._notion.resolve_page(
                token,
                reference,
                earlier.parent,
                created_after=earlier.requested_at - CLOCK_TOLERANCE,
                made_by=earlier.requested_by,
            )
        except InvalidInput as error:
            raise InvalidInput(error.message, field=path) from error
        except NotionFailed as error:
            if error.reason is NotionFailureReason.NOT_SHARED:
                error.field = path
            raise

    def _wanted(self, parent: NotionParent, options: PublishOptions, settings: UserSettings) -> dict[str, object]:
        """The properties' values before anything is put in for a placeholder."""
        if options.mode is PublishMode.APPEND:
            _check_appendable(parent, options)
            return {}
        checked_json(options.properties, field=("publish", "properties"))
        usual = settings.notion.property_map
        if options.parent is not None:
            usual = {name: value for name, value in usual.items() if name in parent.properties}
        wanted: dict[str, object] = {**usual, **options.properties}
        may_add_options = _may_add_options(options, settings)
        return {**defaults(parent, may_add_options=may_add_options, beside=wanted), **wanted}

    def _filled(
        self,
        parent: NotionParent,
        wanted: Mapping[str, object],
        viewer: Viewer,
        facts: PublicationFacts,
        title: str,
    ) -> dict[str, object]:
        prompt = facts.prompt.strip()
        texts = {
            Placeholder.TITLE: title,
            Placeholder.PROMPT: prompt if len(prompt) <= MAX_PROMPT_CHARS else f"{prompt[: MAX_PROMPT_CHARS - 1]}…",
            Placeholder.PROVIDER: facts.provider,
            Placeholder.MODEL: facts.model,
            Placeholder.CREATED_AT: facts.created_at.isoformat(timespec="seconds"),
            Placeholder.CREATED_BY: viewer.user.username,
            Placeholder.GENERATION_ID: self._reference_of(facts.generation_id),
        }
        try:
            return filled(wanted, texts, parent.properties)
        except InvalidInput as error:
            raise _of_property(error) from error


def _check_mode(options: PublishOptions) -> None:
    if options.mode is PublishMode.UPDATE:
        raise InvalidInput(
            "Only what is published can be updated: publish the complete answer first.", field=("publish", "mode")
        )


def _check_appendable(parent: NotionParent, options: PublishOptions) -> None:
    if parent.kind is not NotionParentKind.PAGE:
        raise InvalidInput("An answer can be appended to a page only.", field=("publish", "parent"))
    if options.properties:
        raise InvalidInput("A page to append to has its properties already.", field=("publish", "properties"))


def _title(options: PublishOptions, facts: PublicationFacts) -> str:
    if options.title is not None:
        checked_text(options.title, field=("publish", "title"), max_chars=MAX_TITLE_CHARS)
    return options.title or excerpt(facts.prompt, max_chars=DEFAULT_TITLE_CHARS)


def _may_add_options(options: PublishOptions, settings: UserSettings) -> bool:
    return settings.notion.create_options if options.create_options is None else options.create_options


def _of_property(error: InvalidInput) -> InvalidInput:
    """With its whole path, once."""
    path = error.field or ()
    if path[:1] == ("publish",):
        return error
    return InvalidInput(error.message, field=("publish", "properties", *path))
