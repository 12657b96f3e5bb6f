"""environment.json says which commit a run was made with, and whether the code was that commit's."""

import hashlib
import subprocess
from pathlib import Path

import pytest

from slipstick.kernels import native
from slipstick.train.code_version import code_version
from slipstick.train.environment import environment


def git(folder: Path, *arguments: str) -> str:
    who = ("-c", "user.name=a", "-c", "user.email=a@example.org")
    done = subprocess.run(["git", *who, *arguments], cwd=folder, check=True, capture_output=True, text=True)
    return done.stdout.strip()


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """A package in a checkout of one commit."""
    folder = tmp_path / "src" / "package"
    folder.mkdir(parents=True)
    (folder / "__init__.py").write_text("")
    (tmp_path / ".gitignore").write_text("*.so\n")
    git(tmp_path, "init", "-q")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-q", "-m", "first")
    return folder


def found(package: Path) -> tuple[str | None, bool | None]:
    version = code_version(package)
    return version["commit"], version["dirty"]


def test_the_commit_is_that_of_the_checkout(package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    commit = git(package, "rev-parse", "HEAD")
    monkeypatch.setenv("GIT_DIR", "/nowhere")  # as inside a hook of another repository
    assert found(package) == (commit, False)


@pytest.mark.parametrize(
    ("file", "dirty"),
    [("__init__.py", True), ("new.py", True), ("native.so", False), ("../../README.md", False)],
)
def test_changes_of_the_package_make_it_dirty_and_others_do_not(package: Path, file: str, dirty: bool) -> None:
    commit = git(package, "rev-parse", "HEAD")
    (package / file).write_text("1\n")
    assert found(package) == (commit, dirty)


def test_a_package_installed_into_a_repository_is_not_of_it(package: Path) -> None:
    installed = package.parent / "site-packages" / "package"
    installed.mkdir(parents=True)
    (installed / "__init__.py").write_text("")
    assert found(installed) == (None, None)


def test_without_git_or_a_checkout_there_is_no_commit(
    package: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert found(tmp_path_factory.mktemp("plain")) == (None, None)
    monkeypatch.setenv("PATH", "")
    assert found(package) == (None, None)


def test_the_environment_names_version_commit_and_the_native_code() -> None:
    told = environment()
    assert native.__file__ is not None
    assert told["native_sha256"] == hashlib.sha256(Path(native.__file__).read_bytes()).hexdigest()
    assert {"slipstick", "commit", "dirty"} <= told.keys()
