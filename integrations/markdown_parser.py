"""Runs markdown-it's rules only where they can apply, and its most frequent rules in a shorter way.

The library asks every rule at every line and at every sign. Here the character that a line or a sign starts with
decides which rules are asked: what they make of it is the same, in a fraction of the time.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from markdown_it.parser_block import ParserBlock, RuleFuncBlockType
from markdown_it.parser_inline import ParserInline, RuleFuncInlineType
from markdown_it.ruler import Ruler

from integrations.markdown_block_rules import (
    DEEPEST_BLOCK,
    DELIMITER_ROW_STARTS,
    LINE_STARTS,
    STARTS,
    room,
    too_deep,
    too_many,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from markdown_it.rules_block import StateBlock
    from markdown_it.rules_inline import StateInline

SIGNS: Final = re.compile(
    r"[\n$*\[\\\]`~]|!(?=\[)|&(?=[#A-Za-z])|<(?=[^\s<])|:(?=//)|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])"
)
"""Where a text may mean something else than itself."""

_SIGN_RULES: Final = {
    "\n": ("newline",),
    "$": ("math_inline",),
    "\\": ("math_inline", "escape"),
    "`": ("backticks",),
    "~": ("strikethrough",),
    "*": ("emphasis",),
    "_": ("emphasis",),
    "[": ("link", "footnote_ref"),
    "!": ("image",),
    "<": ("autolink", "html_inline"),
    "&": ("entity",),
    ":": ("bare_address",),
}
"""The rules that can apply to a sign, in the order in which they are asked."""


# --- blocks


class BlockParser(ParserBlock):
    """Asks only rules that can apply to a line."""

    def __init__(self) -> None:
        super().__init__()
        ruler = _BlockRules()
        ruler.__rules__ = self.ruler.__rules__
        self.ruler = ruler

    def tokenize(self, state: StateBlock, startLine: int, endLine: int) -> None:  # noqa: N803 (the library's names)
        """As the library does, without keeping count of what makes a list tight."""
        begins, shifts, ends, columns = state.bMarks, state.tShift, state.eMarks, state.sCount
        ruler = _rules_of(state)
        rules, others = ruler.starting
        line = startLine
        while line < endLine:
            while line < state.lineMax and begins[line] + shifts[line] >= ends[line]:
                line += 1
            state.line = line
            if line >= endLine or columns[line] < state.blkIndent:
                break
            if room(state) <= 0:
                too_many(state, line, endLine)
                break
            if state.level >= DEEPEST_BLOCK:
                # What is shown as written once comes back as code: nothing in that nests any deeper.
                if not ruler.named("fence")(state, line, endLine, False):
                    too_deep(state, line, endLine)
            elif columns[line] - state.blkIndent >= 4:
                ruler.named("code")(state, line, endLine, False)
            elif not (_may_head_table(state, line) and ruler.named("table")(state, line, endLine, False)):
                for rule in rules.get(state.src[begins[line] + shifts[line]], others):
                    if rule(state, line, endLine, False):
                        break
            line = state.line
            if line < endLine and begins[line] + shifts[line] >= ends[line]:
                state.line = line = line + 1


class _BlockRules(Ruler[RuleFuncBlockType]):
    """The rules by the characters that lines start with. Each chain of rules becomes a single one that chooses."""

    @property
    def starting(self) -> tuple[Mapping[str, tuple[RuleFuncBlockType, ...]], tuple[RuleFuncBlockType, ...]]:
        """The rules for a line, by the character that it starts with, and those for all other lines."""
        self.getRules("")  # sees to it that they are sorted
        return self._starting_rules

    def __compile__(self) -> None:
        super().__compile__()
        chains = self.__cache__ or {}
        self._named = dict(zip(self.get_active_rules(), chains[""], strict=True))
        always = tuple(rule for name, rule in self._named.items() if name == "paragraph")
        self._starting_rules = ({start: (*self._starting(start, chains[""]), *always) for start in STARTS}, always)
        self.__cache__ = {name: [self._chooser(chain)] if name else chain for name, chain in chains.items()}

    def named(self, name: str) -> RuleFuncBlockType:
        """The rule of a name."""
        return self._named[name]

    def _starting(self, start: str, chain: list[RuleFuncBlockType]) -> tuple[RuleFuncBlockType, ...]:
        return tuple(rule for name, rule in self._named.items() if start in LINE_STARTS.get(name, "") and rule in chain)

    def _chooser(self, chain: list[RuleFuncBlockType]) -> RuleFuncBlockType:
        rules = {start: found for start in STARTS if (found := self._starting(start, chain))}
        table = self._named["table"] if self._named["table"] in chain else None

        def choose(state: StateBlock, line: int, end_line: int, silent: bool) -> bool:
            position = state.bMarks[line] + state.tShift[line]
            for rule in rules.get(state.src[position : position + 1], ()):
                if rule(state, line, end_line, silent):
                    return True
            return table is not None and _may_head_table(state, line) and table(state, line, end_line, silent)

        return choose


def _rules_of(state: StateBlock) -> _BlockRules:
    ruler = state.md.block.ruler
    if not isinstance(ruler, _BlockRules):
        raise AssertionError("a parser with the library's own rules")
    return ruler


def _may_head_table(state: StateBlock, line: int) -> bool:
    below = state.bMarks[line + 1] + state.tShift[line + 1]  # behind the last line the library keeps an empty one
    return below < state.eMarks[line + 1] and state.src[below] in DELIMITER_ROW_STARTS


# --- text


class InlineParser(ParserInline):
    """Asks only rules that can apply to a sign."""

    def __init__(self) -> None:
        super().__init__()
        self.terminator_re = SIGNS
        self._rules: Mapping[str, tuple[RuleFuncInlineType, ...]] | None = None

    def _by_sign(self) -> Mapping[str, tuple[RuleFuncInlineType, ...]]:
        if self._rules is None:  # asked for the first time when all rules are there
            named = dict(zip(self.ruler.get_active_rules(), self.ruler.getRules(""), strict=True))
            self._rules = {
                sign: tuple(named[name] for name in names if name in named) for sign, names in _SIGN_RULES.items()
            }
        return self._rules

    def skipToken(self, state: StateInline) -> None:  # noqa: N802 (the library's name)
        """As the library does."""
        position = state.pos
        if position in state.cache:
            state.pos = state.cache[position]
            return
        if state.level >= state.md.options["maxNesting"]:
            state.pos = state.posMax + 1
        else:
            state.level += 1
            is_token = self._step(state, True)
            state.level -= 1
            if not is_token:
                state.pos += 1
        state.cache[position] = state.pos

    def tokenize(self, state: StateInline) -> None:
        """As the library does."""
        end = state.posMax
        deepest = state.md.options["maxNesting"]
        while state.pos < end:
            if not (state.level < deepest and self._step(state, False)):
                state.append_pending(state.src[state.pos])
                state.pos += 1
        if state.pending:
            state.pushPending()

    def _step(self, state: StateInline, silent: bool) -> bool:
        """Whether there is a token, or text without a sign, at the position; if so, that is behind it afterwards."""
        position = state.pos
        rules = self._by_sign().get(state.src[position])
        if rules is not None:
            return any(rule(state, silent) for rule in rules)
        sign = SIGNS.search(state.src, position)
        end = sign.start() if sign else state.posMax
        if end == position:
            return False
        if not silent:
            state.append_pending(state.src[position:end])
        state.pos = end
        return True
