"""Where the trials of a study are kept: a database that all its workers reach."""

import time
import warnings
from pathlib import Path

import optuna
from optuna.exceptions import StorageInternalError
from optuna.storages import RDBStorage
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, NoSuchModuleError, SQLAlchemyError

from slipstick.errors import SpecificationError
from slipstick.sweep.config import Study

GRACE = 4
"""Heartbeats that a trial may miss before it counts as left."""

_LOCK_SECONDS = 60
_TRIES = 20
_EXAMPLE = "write e.g. sqlite:///study.db or postgresql+psycopg://user@host/database"


def storage_url(study: Study) -> str:
    """The study's own, or that of study.db in its folder."""
    return study.storage or f"sqlite:///{study.folder.resolve() / 'study.db'}"


def open_storage(study: Study, create: bool = True) -> RDBStorage:
    """Raises SpecificationError where the URL is none, its driver is missing, or nothing answers there.

    create: make an SQLite file that is not there. A password is never printed.
    """
    try:
        url = make_url(storage_url(study))
    except ArgumentError:
        raise SpecificationError(f"storage: no URL of a database; {_EXAMPLE}") from None
    shown = url.render_as_string(hide_password=True)
    local = url.get_backend_name() == "sqlite"
    if local and url.database in (None, "", ":memory:"):
        raise SpecificationError(f"storage = {shown!r}: is lost with this process; name a file")
    try:
        if local:
            _require_file(Path(str(url.database)), create, study)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            return _connected(url, study)
    except NoSuchModuleError:
        raise SpecificationError(f"storage = {shown!r}: no kind of database; {_EXAMPLE}") from None
    except ImportError as error:
        driver = getattr(error.__cause__, "name", None) or url.get_driver_name()
        other = (
            ", or write postgresql+psycopg:// and pip install 'psycopg[binary]'" if shown.startswith("postgres") else ""
        )
        raise SpecificationError(f"storage = {shown!r}: needs the package {driver!r}; install it{other}") from None
    except (OSError, RuntimeError, SQLAlchemyError, StorageInternalError) as error:
        raise SpecificationError(f"storage = {shown!r}: {reason(error)}") from None


def _connected(url: URL, study: Study) -> RDBStorage:
    local = url.get_backend_name() == "sqlite"
    for tries_left in reversed(range(_TRIES)):
        try:
            return RDBStorage(
                url.render_as_string(hide_password=False),
                engine_kwargs={"connect_args": {"timeout": _LOCK_SECONDS}} if local else {"pool_pre_ping": True},
                heartbeat_interval=study.heartbeat,
                grace_period=GRACE * study.heartbeat,
            )
        except (SQLAlchemyError, StorageInternalError, AssertionError) as error:
            if not tries_left or not _is_being_made(error):
                raise
        time.sleep(0.5)
    raise AssertionError("unreachable")


def _is_being_made(error: Exception) -> bool:
    """Whether another worker makes the same tables at this moment."""
    if isinstance(error, AssertionError):  # Optuna's, of a version that is not written yet
        return True
    while isinstance(error, StorageInternalError) and isinstance(error.__cause__, Exception):
        error = error.__cause__
    return any(words in str(error) for words in ("already exists", "duplicate key", "UNIQUE constraint"))


def storage_name(study: Study) -> str:
    """Its URL without a password."""
    return make_url(storage_url(study)).render_as_string(hide_password=True)


def reason(error: BaseException) -> str:
    """What a database said, in one line."""
    while isinstance(error, StorageInternalError) and error.__cause__ is not None:
        error = error.__cause__
    said = str(getattr(error, "orig", None) or error).strip()
    return " ".join((said.splitlines() or [type(error).__name__])[0].split())


def _require_file(path: Path, create: bool, study: Study) -> None:
    if not path.is_file() and not create:
        raise SpecificationError(f"{path}: no study there yet; start it without --status")
    if study.storage is not None and not path.parent.is_dir():
        raise SpecificationError(f"storage = 'sqlite:///{path}': its folder does not exist")
    path.parent.mkdir(parents=True, exist_ok=True)
