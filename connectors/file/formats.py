"""Formats: which layout the settings of a file ask for.

Refuses: a format whose package is not installed.
Keeps: who writes no XML needs no XML.
"""

from connectors.file.csv_line import Style
from connectors.file.layout import Layout
from connectors.file.lines import Lines
from connectors.file.settings import FormatSettings
from schemas.errors import Refused


def layout_of(settings: FormatSettings) -> Layout:
    """The layout that these settings ask for.

    Raises Refused("file.template", "file.template-rows", "file.xsd", "connector.package").
    """
    style = Style(
        encoding=settings.encoding,
        lacking=settings.lacking,
        delimiter=settings.delimiter,
        line_end="\r\n" if settings.line_end == "crlf" else "\n",
        quote=settings.quote,
        guard=settings.guard,
    )
    if settings.format != "xml":
        return Lines(settings.format, style, settings.decimal, settings.widths, headed=settings.header)
    try:
        from connectors.file import template  # here: who writes no XML need not install lxml
    except ImportError:
        raise Refused("connector.package", "/format", package="lxml") from None
    made = template.Template.read(settings.template, settings.xsd, style, settings.decimal)
    if not made.each and settings.rows != 1:
        raise Refused("file.template-rows", "/rows")
    return made
