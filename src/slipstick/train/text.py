"""The texts that a language model may learn: the one that ships with Python, or a file."""

from pathlib import Path

from slipstick.errors import SpecificationError
from slipstick.train.config import PYTHON_DOCS


def read_text(data: str) -> str:
    """The text that ``data`` means: "python-docs", or the path of a UTF-8 file.

    "python-docs" is ``pydoc_data.topics``, from which Python's ``help()`` takes its pages on the language, in the order
    of their names: about 450,000 characters. They are those of the Python that runs, from one release to the next
    not the same. Raises SpecificationError where there is no such text.
    """
    return _python_docs() if data == PYTHON_DOCS else _text_file(Path(data))


def _python_docs() -> str:
    try:
        from pydoc_data.topics import topics
    except ImportError:
        raise SpecificationError(
            f"data {PYTHON_DOCS!r}: this Python comes without pydoc_data.topics; give the path of a .txt file"
        ) from None
    return "\n\n".join(topics[name] for name in sorted(topics))


def _text_file(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise SpecificationError(f"data {str(path)!r}: no such file") from None
    except UnicodeDecodeError as error:
        raise SpecificationError(f"data {str(path)!r}: not UTF-8 (byte {error.start})") from None
    except OSError as error:
        raise SpecificationError(f"data {str(path)!r}: cannot be read: {error.strerror}") from None
