"""What Markdown can say and a Notion page cannot show in the same way, one sentence each."""

from __future__ import annotations

from enum import StrEnum


class Loss(StrEnum):
    """A sort of thing that was shown differently; the value is what the reader is told."""

    HEADING_LEVEL = "Headings of levels 5 and 6 are shown at level 4."
    LIST_NUMBER = "List numbers that Notion would count differently are written out as text."
    TASK_NUMBER = "Numbers of numbered tasks are written out as text."
    TABLE_ALIGNMENT = "The alignment of table columns is left out."
    TABLE_WIDTH = "Tables wider than 100 columns have the rest of each row in their last column."
    TABLE_CELL = "Blocks inside table cells are shown as lines of text."
    TOO_DEEP = "Quotes and lists nested very deeply are shown as they were written."
    TOO_MANY = "What comes after 100,000 blocks is shown as it was written."
    MANY_MARKS = "What comes after 100,000 marks, links and formulas is shown as it was written."
    IMAGE_HOST = "Images from hosts that are not allowed are shown as links."
    IMAGE_PLACE = "Images inside table cells and summaries are shown as links."
    IMAGE_DATA = "Images written into the text itself are left out; their descriptions stay."
    LINK = "Links that Notion does not take are shown as text."
    LINK_TITLE = "Titles of links and images are written out as text."
    LINKED_EQUATION = "Equations inside links are shown as they were written."
    LONG_EQUATION = "Equations longer than 1000 characters are shown as code."
    LONG_TEXT = "Paragraphs longer than 30,000 characters are read in parts; marks across parts are shown as written."
    LANGUAGE = "Code in a language that Notion does not know is shown as plain text, with the language below it."
    SCRIPT = "Superscripts and subscripts without a character of their own are shown with ^ and _."
    HTML_TAG = "HTML tags without a meaning in Notion are shown as text."
    HTML_MEDIA = "Embedded media are shown as links."
    HTML_STYLE = "HTML layout, such as centring, is left out."
    FOOTNOTE = "Footnotes are listed at the end, and their marks are no links."
    LONE_SURROGATE = "Characters that are not valid Unicode are replaced."


Losses = dict[Loss, None]
"""The losses met so far, in order and each once."""
