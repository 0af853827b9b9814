"""The languages that Notion's code blocks know, and the names under which Markdown asks for them."""

from __future__ import annotations

import functools
from typing import Final

LANGUAGES: Final = frozenset(
    """
    abap|abc|agda|arduino|ascii art|assembly|bash|basic|bnf|c|c#|c++|clojure|coffeescript|coq|css|dart|dhall|diff|docker
    |ebnf|elixir|elm|erlang|f#|flow|fortran|gherkin|glsl|go|graphql|groovy|haskell|hcl|html|idris|java|javascript|json
    |julia|kotlin|latex|less|lisp|livescript|llvm ir|lua|makefile|markdown|markup|matlab|mathematica|mermaid|nix
    |notion formula|objective-c|ocaml|pascal|perl|php|plain text|powershell|prolog|protobuf|purescript|python|r|racket
    |reason|ruby|rust|sass|scala|scheme|scss|shell|smalltalk|solidity|sql|swift|toml|typescript|vb.net|verilog|vhdl
    |visual basic|webassembly|xml|yaml|java/c/c++/c#
    """.replace("\n    ", "").split("|")
)
"""All names that Notion takes; any other fails the request."""

PLAIN: Final = "plain text"

ALIASES: Final = {
    "assembly": "asm nasm masm gas x86asm armasm s",
    "bash": "bashrc",
    "basic": "bas qbasic",
    "c": "h",
    "c#": "cs csharp c-sharp dotnet",
    "c++": "cpp cxx cc hpp hxx hh cplusplus c++17 c++20 cuda cu",
    "clojure": "clj cljs cljc edn",
    "coffeescript": "coffee cson",
    "css": "postcss",
    "diff": "patch udiff",
    "docker": "dockerfile containerfile",
    "ebnf": "antlr",
    "elixir": "ex exs heex",
    "erlang": "erl",
    "f#": "fs fsharp fsx",
    "fortran": "f f77 f90 f95 f03",
    "gherkin": "feature cucumber",
    "glsl": "vert frag hlsl wgsl",
    "go": "golang",
    "graphql": "gql",
    "groovy": "gradle jenkinsfile",
    "haskell": "hs lhs",
    "hcl": "tf terraform tfvars",
    "html": "htm xhtml vue svelte astro jinja jinja2 handlebars hbs mustache ejs erb",
    "javascript": "js jsx mjs cjs node nodejs ecmascript javascriptreact",
    "json": "jsonc json5 jsonl ndjson geojson ipynb webmanifest",
    "julia": "jl",
    "kotlin": "kt kts",
    "latex": "tex katex bibtex",
    "lisp": "cl common-lisp commonlisp elisp emacs-lisp el",
    "livescript": "ls",
    "llvm ir": "llvm ll",
    "makefile": "make mk mf gnumake",
    "markdown": "md mdx mkd rmd",
    "mathematica": "wl wolfram nb",
    "matlab": "m octave",
    "mermaid": "mmd",
    "nix": "nixos",
    "objective-c": "objc objectivec obj-c mm objective-c++",
    "ocaml": "ml mli",
    "pascal": "pas delphi objectpascal",
    "perl": "pl pm perl5 perl6 raku",
    "php": "php3 php7 php8 phtml",
    "plain text": "text txt plain plaintext none output log logs ascii nohighlight raw",
    "powershell": "ps1 pwsh posh psm1",
    "prolog": "swipl",
    "protobuf": "proto proto3",
    "purescript": "purs",
    "python": "py python3 py3 python2 pyi pycon ipython pyw sage cython pyx",
    "r": "rlang rscript",
    "racket": "rkt",
    "reason": "reasonml re",
    "ruby": "rb rake gemfile irb",
    "rust": "rs",
    "scala": "sc sbt",
    "scheme": "scm",
    "shell": "sh zsh ksh fish console shell-session shellsession sh-session terminal cmd bat batch dos",
    "smalltalk": "st squeak",
    "solidity": "sol",
    "sql": "mysql postgres postgresql psql pgsql plpgsql plsql sqlite tsql mssql t-sql bigquery snowflake hql",
    "toml": "ini cfg conf config properties editorconfig dotenv env systemd",
    "typescript": "ts tsx mts cts typescriptreact deno",
    "vb.net": "vb vbnet visualbasic",
    "verilog": "v sv systemverilog vh",
    "visual basic": "vba vbs vbscript vb6",
    "webassembly": "wasm wat wast",
    "xml": "svg rss atom xsd xsl xslt plist wsdl xaml csproj mathml",
    "yaml": "yml docker-compose k8s kubernetes",
}
"""What else people write for a language."""


@functools.cache
def _languages_by_alias() -> dict[str, str]:
    return {alias: language for language, aliases in ALIASES.items() for alias in aliases.split()}


def notion_language(name: str) -> str | None:
    """The language that Notion knows under this name or an alias of it; None if it knows none."""
    lowered = name.lower()
    if lowered in LANGUAGES:
        return lowered
    spaced = lowered.replace("-", " ").replace("_", " ")
    return spaced if spaced in LANGUAGES else _languages_by_alias().get(lowered)
