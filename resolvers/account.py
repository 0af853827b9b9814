"""Registering, signing in and out, and the viewer's account."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Protocol

import strawberry

from domain.account import User, Viewer
from domain.notion import NotionConnection
from domain.provider import ApiKey
from domain.settings import UserSettings
from domain.sign_in import SignIn
from resolvers.context import Context, Info


@strawberry.input(description="A new account.")
class RegisterInput:
    email: str = strawberry.field(description="The email address; unique whatever its case.")
    username: str = strawberry.field(
        description="3 to 40 letters, digits, and dots, dashes or underscores between them; unique whatever its case."
    )
    password: str = strawberry.field(
        description="The password: 15 characters at least, any characters, and not easy to guess."
    )
    invitation: str | None = strawberry.field(
        default=None, description="An invitation's secret: what follows `#invitation=`. Needed where sign-up is INVITE."
    )


@strawberry.input(description="A sign-in.")
class LoginInput:
    login: str = strawberry.field(description="The email address or the username.")
    password: str = strawberry.field(description="The password.")


@strawberry.input(description="The exchange of a refresh token.")
class RefreshSessionInput:
    refresh_token: str = strawberry.field(description="The newest refresh token of the session.")


async def register(
    info: Info, input_: Annotated[RegisterInput, strawberry.argument(name="input", description="The account.")]
) -> SignIn:
    """Makes an account and signs it in."""
    sign_in = await info.context.services.authentication.register(
        email=input_.email,
        username=input_.username,
        password=input_.password,
        invitation=input_.invitation,
        client=info.context.client,
    )
    return signed_in(info.context, sign_in)


async def login(
    info: Info, input_: Annotated[LoginInput, strawberry.argument(name="input", description="Who signs in.")]
) -> SignIn:
    """Signs in."""
    sign_in = await info.context.services.authentication.login(
        login=input_.login, password=input_.password, client=info.context.client
    )
    return signed_in(info.context, sign_in)


async def refresh_session(
    info: Info,
    input_: Annotated[RefreshSessionInput, strawberry.argument(name="input", description="The token to exchange.")],
) -> SignIn:
    """Exchanges a refresh token."""
    sign_in = await info.context.services.authentication.refresh(
        refresh_token=input_.refresh_token, client=info.context.client
    )
    return signed_in(info.context, sign_in)


@strawberry.input(description="Another password in place of the viewer's.")
class ChangePasswordInput:
    current_password: str = strawberry.field(description="The password that is in place.")
    new_password: str = strawberry.field(
        description="The new one: 15 characters at least, any characters, and not easy to guess."
    )


async def change_password(
    info: Info, input_: Annotated[ChangePasswordInput, strawberry.argument(name="input", description="Old and new.")]
) -> SignIn:
    """Changes the viewer's password."""
    context = info.context
    sign_in = await context.services.authentication.change_password(
        context.require_viewer(),
        current_password=input_.current_password,
        new_password=input_.new_password,
        client=context.client,
    )
    return signed_in(context, sign_in)


async def logout(info: Info) -> None:
    """Ends the viewer's session."""
    context = info.context
    await context.services.authentication.logout(context.require_viewer(), client=context.client)
    context.viewer = None


class SignInOutcome(Protocol):
    """What became of a sign-in; None after a failure."""

    sign_in: SignIn | None


def access_token(root: strawberry.Parent[SignInOutcome]) -> str | None:
    """What requests are authenticated with."""
    return None if root.sign_in is None else root.sign_in.access_token.reveal()


def refresh_token(root: strawberry.Parent[SignInOutcome]) -> str | None:
    """What is exchanged for the next access token."""
    return None if root.sign_in is None else root.sign_in.refresh_token.reveal()


def expires_at(root: strawberry.Parent[SignInOutcome]) -> datetime | None:
    """When the access token stops being accepted."""
    return None if root.sign_in is None else root.sign_in.expires_at


def signed_in_user(root: strawberry.Parent[SignInOutcome]) -> User | None:
    """Who is signed in now."""
    return None if root.sign_in is None else root.sign_in.user


def viewer(info: Info) -> User | None:
    """Who is signed in."""
    return None if info.context.viewer is None else info.context.viewer.user


async def settings(info: Info) -> UserSettings:
    """The viewer's choices."""
    return await info.context.services.settings.get(info.context.require_viewer())


async def api_keys(info: Info) -> Sequence[ApiKey]:
    """The viewer's keys at providers."""
    return await info.context.services.api_keys.list_of(info.context.require_viewer())


async def notion(info: Info) -> NotionConnection | None:
    """The viewer's connection to Notion."""
    return await info.context.services.notion.connection(info.context.require_viewer())


def signed_in(context: Context, sign_in: SignIn) -> SignIn:
    """Lets the rest of the operation speak for whom it has signed in."""
    context.viewer = Viewer(user=sign_in.user, session_id=sign_in.session_id, authenticated_until=sign_in.expires_at)
    return sign_in
