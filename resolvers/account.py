"""Registering, signing in and out, and the viewer's account."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Protocol

import strawberry

from domain.account import User
from domain.errors import InvalidInput, Unauthenticated
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
    refresh_token: str | None = strawberry.field(
        default=None,
        description="The newest refresh token of the session; left out where a cookie holds it.",
    )


async def register(
    info: Info, input_: Annotated[RegisterInput, strawberry.argument(name="input", description="The account.")]
) -> SignIn:
    """Makes an account and signs it in."""
    context = info.context
    return await context.sign_in(
        lambda: context.services.authentication.register(
            email=input_.email,
            username=input_.username,
            password=input_.password,
            invitation=input_.invitation,
            client=context.client,
        )
    )


async def login(
    info: Info, input_: Annotated[LoginInput, strawberry.argument(name="input", description="Who signs in.")]
) -> SignIn:
    """Signs in."""
    context = info.context
    return await context.sign_in(
        lambda: context.services.authentication.login(
            login=input_.login, password=input_.password, client=context.client
        )
    )


async def refresh_session(
    info: Info,
    input_: Annotated[
        RefreshSessionInput | None, strawberry.argument(name="input", description="The token to exchange.")
    ] = None,
) -> SignIn:
    """Exchanges a refresh token: the one that is given, or the cookie's."""
    context = info.context
    given = None if input_ is None else input_.refresh_token
    token = _token_of_cookie(context) if given is None else given
    try:
        return await context.sign_in(
            lambda: context.services.authentication.refresh(refresh_token=token, client=context.client)
        )
    except Unauthenticated as failure:
        if given is None and not failure.expired:
            context.forget_viewer()  # The cookie will not be good again, so the browser need not keep it.
        raise


def _token_of_cookie(context: Context) -> str:
    if context.cookie_session is None:
        raise InvalidInput("Give the newest refresh token of the session.", field=("refreshToken",))
    if context.cookie_session.refresh_token is None:
        raise Unauthenticated("Sign in first.")
    return context.cookie_session.refresh_token.reveal()


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
    viewer = context.require_viewer()
    return await context.sign_in(
        lambda: context.services.authentication.change_password(
            viewer,
            current_password=input_.current_password,
            new_password=input_.new_password,
            client=context.client,
        )
    )


async def logout(info: Info) -> None:
    """Ends the viewer's session."""
    context = info.context
    await context.services.authentication.logout(context.require_viewer(), client=context.client)
    context.forget_viewer()


class SignInOutcome(Protocol):
    """What became of a sign-in; None after a failure."""

    sign_in: SignIn | None


def access_token(info: Info, root: strawberry.Parent[SignInOutcome]) -> str | None:
    """What requests are authenticated with; where cookies hold it, that is to keep it from scripts."""
    if root.sign_in is None or info.context.cookie_session is not None:
        return None
    return root.sign_in.access_token.reveal()


def refresh_token(info: Info, root: strawberry.Parent[SignInOutcome]) -> str | None:
    """What is exchanged for the next access token; where cookies hold it, that is to keep it from scripts."""
    if root.sign_in is None or info.context.cookie_session is not None:
        return None
    return root.sign_in.refresh_token.reveal()


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
