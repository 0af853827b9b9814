"""Markdown as language models really answer: nothing that can be read is lost, no request is refused, and it comes back."""

# ruff: noqa: E501  (an answer is easier to read in one piece)
import pytest

from integrations.markdown import parse
from integrations.markdown_writer import write
from integrations.notion_blocks import batches, to_notion
from tests.integrations.visible_text import block_texts
from tests.standins.notion_limits import check_children
from tests.standins.notion_schema import NEWEST_VERSION, request_complaint

_LONG = "https://example.com/" + "a" * 1900 + "?q=(x)"
_TICKS = "```"

# The text, and what must be there to be read of it.
ANSWERS = {
    "code in lists": (
        f"1. Install:\n   {_TICKS}bash\n   pip install x | grep y\n\n   # comment\n   {_TICKS}\n   - then `a|b`\n"
        f"     {_TICKS}py\n     def f(): pass\n     {_TICKS}\n2. Next\n\n       indented code\n\n3. **Bold:** text\n",
        ("pip install x | grep y\n\n# comment", "a|b", "def f(): pass", "indented code", "Bold: text"),
    ),
    "lists by tabs": (
        "-\tone\n\t-\ttwo\n\t\t-\tthree\n\n\t\t\tpara in three\n",
        ("one", "two", "three", "para in three"),
    ),
    "pipes in tables": (
        "| cmd | meaning |\n|:---|---:|\n| `a | b` | pipe |\n| `x \\| y` | esc |\n| **p \\| q** |\n| 1 | 2 | 3 extra | 4 |\n",
        ("a | b", "x | y", "p | q", "3 extra", "4"),
    ),
    "mathematics and prices": (
        "It costs $5, or $6–$7 if $x^2 = z^2$ holds; US$10 and $1,000.00. \\(a_b\\) and \\[ \\frac{1}{2} \\]; $HOME/$USER.\n",
        ("costs $5, or $6–$7 if ", "x^2 = z^2", "US$10 and $1,000.00", "a_b", "\\frac{1}{2}", "$HOME/$USER"),
    ),
    "formulas of several lines": (
        "$$\n\\begin{aligned}\na &= b \\\\\nc &= d\n\\end{aligned}\n$$\n",
        ("a &= b \\\\\nc &= d",),
    ),
    "footnotes": (
        f"Text[^1] and[^note].\n\n[^1]: First `code`.\n[^note]: Second\n\n    two\n\n    {_TICKS}\n    in note\n    {_TICKS}\n"
        "[^unused]: nobody\n",
        ("Text[1] and[2].", "First code.", "Second", "two", "in note", "nobody"),
    ),
    "HTML": (
        "<details>\n<summary>Sum <b>bold</b></summary>\n\n- item\n\n</details>\n\n<kbd>Ctrl</kbd>+<kbd>C</kbd> H<sub>2</sub>O "
        '<u>under</u> <think>hmm</think> a<br>b <!-- gone --> <script>alert(1)</script> <foo bar="1">baz</foo>\n',
        ("Sum bold", "item", "Ctrl+C H₂O under <think>hmm</think> a\nb", "alert(1)", '<foo bar="1">baz</foo>'),
    ),
    "generics and comparisons": (
        'Vec<String> and List<Map<K,V>> x<-y, if a < b && c > d\n\n<answer>\n  <step n="1">Do **this**</step>\n</answer>\n',
        ("Vec<String> and List<Map<K,V>> x<-y, if a < b && c > d", '<step n="1">Do'),
    ),
    "Chinese and Japanese": (
        "**中文。**后面 *日本語*です。「**強調**」と`コード`\n**注意：**请看\n见https://a.example/路径。然后\n",
        ("中文。", "后面", "日本語です。「強調」とコード", "注意：", "请看", "https://a.example/", "。然后"),
    ),
    "from right to left": (
        "שלום **עולם** \u202eabc\u202c مرحبا ١٢٣\n- עברית\n  1. عربى\n",
        ("שלום עולם \u202eabc\u202c", "عربى"),
    ),
    "emoji of several code points": (
        "👩‍👩‍👧‍👦 **👍🏽** 🇩🇪🇫🇷 `👨‍💻` " + "👩‍👩‍👧‍👦" * 900 + "\n",
        ("👩‍👩‍👧‍👦 👍🏽 🇩🇪🇫🇷 👨‍💻",),
    ),
    "addresses of any length": (
        f"[x]({_LONG}) {_LONG} <{_LONG}> ![i]({_LONG}) https://example.com/{'b' * 3000}\n",
        (_LONG, "b" * 1000),
    ),
    "parentheses in links": (
        "[a](https://w.example/A_(b)) https://w.example/C_(d). (see https://x.example/z) [r] [un](ended\n\n"
        "[r]: https://r.example/e_(f) 'Title'\n",
        ("https://w.example/C_(d).", "(see https://x.example/z)", "r (Title)", "[un](ended"),
    ),
    "a fence that never ends": (
        f"Here:\n{_TICKS}python\nprint('x')\n\n**not bold**\n",
        ("print('x')\n\n**not bold**",),
    ),
    "headings in lists": (
        "- # Heading\n  text\n1. ### Three\n   > quote\n   > # in it\n",
        ("Heading", "text", "Three", "quote", "in it"),
    ),
    "tabs": ("\tcode\n\ta\tb\n\nx\ty\n\n| a\t|\tb |\n|-|-|\n|\tc|d\t|\n", ("code\na\tb", "x\ty", "c", "d")),
    "control characters": (
        f"a\x00b \x01\x07 \x1b[31mred\x1b[0m \x7f \x85 \u2028 \ufeff `\x00\x01`\n\n{_TICKS}\n\x00\x1b x\n{_TICKS}\n\ud800 \ufffe\n",
        ("a\ufffdb", "[31mred", " x"),
    ),
    "line separators": (
        "a\u2028b\u2029c\x0bd\x0ce\x1cf\x85i\n- x\u2028y\n> q\u2029r\n# h\x0bi\n",
        tuple("abcdefixyqrh"),
    ),
    "a long line": ("word " * 50_000 + "end\n", ("word word end",)),
    "a long word": ("x" * 100_000 + "end\n", ("xend",)),
    "long code": (
        f"{_TICKS}\n" + "line of code\n" * 10_000 + f"{'y' * 300_000}end\n{_TICKS}\n",
        ("line of code", "yend"),
    ),
    "a long cell": ("|a|b|\n|-|-|\n|" + "w " * 30_000 + "end|x|\n", ("w end", "x")),
    "lists of thirty levels": (
        "".join("  " * depth + f"- level{depth}\n" for depth in range(30)),
        ("level0", "level11", "level29"),
    ),
    "quotes of sixty levels": ("".join("> " * depth + f"q{depth}\n\n" for depth in range(60)), ("q0", "q12", "q59")),
    "lists in quotes": (
        f"> - a\n>   > b\n>   > 1. c\n>   >    {_TICKS}\n>   >    code\n>   >    {_TICKS}\n> - d\nlazy\n",
        ("a", "b", "c", "code", "d lazy"),
    ),
    "numbers of any size": (
        "999999999. a\n1000000000. b\n0. z\n\n3) x\n4) y\n",
        ("999999999. a 1000000000. b", "z", "3) x", "y"),
    ),
    "marks that don't match": (
        "***a** b* **c*d*e** __f__g __h_ i_ **j **k** l** a*b*c ** d ** ****x**** **bold`code**`\n",
        ("a b", "__f__g", "** d **", "code**"),
    ),
    "things of no dialect of ours": (
        "Term\n: Definition\n\n==mark== {.cls}\n:::note\nx\n:::\n",
        (": Definition", "==mark== {.cls}", ":::note x :::"),
    ),
    "empty things": ("-\n\n*\n\n1.\n\n>\n\n#\n\n|a|\n|-|\n||\n\n[]() ![]() **** ~~~~ end\n", ("****", "~~~~ end")),
}


@pytest.mark.parametrize("name", ANSWERS)
def test_all_that_can_be_read_is_there(name: str) -> None:
    answer, wanted = ANSWERS[name]
    shown = "".join(block_texts(to_notion(parse(answer))))
    assert [words for words in wanted if words not in shown] == []


@pytest.mark.parametrize("name", ANSWERS)
def test_no_request_is_refused(name: str) -> None:
    for batch in batches(to_notion(parse(ANSWERS[name][0]))):
        assert check_children(batch.children) == []
        body = {"children": batch.children}
        assert request_complaint("PATCH", "/v1/blocks/{block_id}/children", body, version=NEWEST_VERSION) is None


@pytest.mark.parametrize("name", ANSWERS)
def test_it_comes_back_the_same(name: str) -> None:
    document = parse(ANSWERS[name][0])
    assert parse(write(document)).blocks == document.blocks
