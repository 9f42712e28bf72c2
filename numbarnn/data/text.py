"""A training text that needs no download: Python's language reference."""


def python_reference() -> str:
    """Return a real text of about half a million characters that needs no download: Python's language reference.

    CPython carries it for ``help()``; its length and wording depend on the version of Python.

    Returns
    -------
    str
        The topics, sorted by name, one after the other.

    Raises
    ------
    FileNotFoundError
        If this Python was packaged without it.
    """
    try:
        from pydoc_data.topics import topics
    except ImportError:
        raise FileNotFoundError(
            "this Python comes without pydoc_data, the text of help(); train on a text file instead: numbarnn train FILE"
        ) from None
    return "\n".join(topics[name] for name in sorted(topics))
