"""Text from files and arguments, made safe to show."""


def printable(text, keep="", length=None):
    """Return `text` with what would act on a terminal, or hide, written as code.

    Control characters, marks that turn the direction of writing, characters without
    width, blanks that look like others and halves of characters are shown as
    ``repr`` shows them.

    Parameters
    ----------
    text : str
    keep : str, default=""
        Characters that stay whatever they are, such as a line's end.
    length : int, default=None
        Cut what is longer.

    Returns
    -------
    text : str

    Examples
    --------
    >>> from sklperturb.utils._printable import printable
    >>> print(printable("a\\x1b[31mb"))
    a\\x1b[31mb
    """
    if not text.isprintable():
        shown = (c if c.isprintable() or c in keep else repr(c)[1:-1] for c in text)
        text = "".join(shown)
    if length is not None and len(text) > length:
        text = f"{text[:length]} ..."
    return text
