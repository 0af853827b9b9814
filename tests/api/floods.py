"""Documents that are made to keep a server busy."""

from typing import Final


def _chain(length: int) -> str:
    """Fragments of which each spreads the next."""
    links = " ".join(f"fragment F{n} on Query {{ ...F{n + 1} }}" for n in range(length))
    return f"{{ ...F0 }} {links} fragment F{length} on Query {{ __typename }}"


def _doubling(levels: int) -> str:
    """Fragments of which each spreads the next twice: few characters, 2 ** levels fields."""
    links = " ".join(f"fragment F{n} on Query {{ ...F{n + 1} ...F{n + 1} }}" for n in range(levels))
    return f"{{ ...F0 }} {links} fragment F{levels} on Query {{ __typename }}"


FLOODS: Final = {
    "2,000 duplicate fields": "{" + " server { version }" * 2_000 + "}",
    "400 duplicate fields": "{ server {" + " version" * 400 + "} }",
    "duplicates at every level": "{" + " viewer { history { nodes { id id id } } }" * 49 + "}",
    "1,000 aliases": "{" + " ".join(f"a{n}: __typename" for n in range(1_000)) + "}",
    "400 aliases": "{" + " ".join(f"a{n}: __typename" for n in range(400)) + "}",
    "1,000 directives": "{ __typename" + " @skip(if: false)" * 1_000 + "}",
    "directives without arguments": "{ __typename" + " @a" * 900 + "}",
    "1,000 fragments": "{ __typename }" + " ".join(f"fragment F{n} on Query {{ __typename }}" for n in range(1_000)),
    "a chain of 1,000 fragments": _chain(1_000),
    "a chain of 190 fragments": _chain(190),
    "fragments that double": _doubling(60),
    "400 spreads": "{" + " ...F" * 400 + "} fragment F on Query { __typename }",
    "400 inline fragments": "{" + " ... { __typename }" * 400 + "}",
    "a circle of fragments": "{ ...A } fragment A on Query { ...B ...B } fragment B on Query { ...A ...A }",
    "500,000 fields": "{" + " server" * 500_000 + "}",
    "a million commas": "{ __typename " + "," * 1_000_000 + "}",
    "100,000 comments": "{ __typename }" + "#\n" * 100_000,
    "30,000 comments": "{ __typename }" + "#\n" * 30_000,
    "100,000 brackets": "{ node(id: " + "[" * 100_000,
    "900 brackets": "{ node(id: " + "[" * 900 + "]" * 900 + ") { id } }",
    "900 levels": "{ a " * 900 + "}" * 900,
    "60 levels": "{ a " * 60 + "}" * 60,
    "500 operations": " ".join(f"query Q{n} {{ __typename }}" for n in range(500)),
    "500 variables": "query (" + " ".join(f"$v{n}: Int" for n in range(500)) + ") { __typename }",
    "a number of 60,000 digits": "{ viewer { history(first: " + "9" * 60_000 + ") { totalCount } } }",
    "a long name": "{ " + "a" * 60_000 + " }",
}
