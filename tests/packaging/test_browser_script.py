"""`.ci/browser`: what cannot be installed is said in one sentence, and is a failure only where it is asked to be."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TOOLS = ("bash", "mktemp", "tail", "rm", "dirname", "timeout", "echo")
SAID = "THE PAGES WERE NOT TESTED IN A BROWSER"

pytestmark = pytest.mark.skipif(
    os.name == "nt" or not all(map(shutil.which, TOOLS)), reason="a shell and its usual tools"
)


def script(folder: Path, wanted: str, **programs: str) -> subprocess.CompletedProcess[str]:
    """Run it with these programs and a few tools alone; ``python`` is the one that has Playwright."""
    for tool in TOOLS:
        (folder / tool).symlink_to(str(shutil.which(tool)))
    for name, body in ({"python": "exit 0", "id": "echo 0"} | programs).items():
        (folder / name).write_text(f"#!{shutil.which('bash')}\n{body}\n")
        (folder / name).chmod(0o755)
    return subprocess.run(
        [str(folder / "bash"), ROOT / ".ci" / "browser"], capture_output=True, text=True, timeout=60, check=False,
        env={"PATH": str(folder), "PYTHON": str(folder / "python"), "BROWSER": wanted},
    )  # fmt: skip


@pytest.mark.parametrize(("wanted", "code"), [("wanted", 0), ("required", 1)])
def test_without_chromium_and_apt(tmp_path: Path, wanted: str, code: int) -> None:
    done = script(tmp_path, wanted)
    assert (done.returncode, SAID in done.stderr, "no Chromium" in done.stderr) == (code, True, True)


@pytest.mark.parametrize(("wanted", "code"), [("wanted", 0), ("required", 1)])
def test_apt_without_a_network(tmp_path: Path, wanted: str, code: int) -> None:
    done = script(tmp_path, wanted, **{"apt-get": "echo 'E: Unable to fetch some archives' >&2; exit 100"})
    assert done.returncode == code
    assert "E: Unable to fetch some archives" in done.stderr
    assert SAID in done.stderr


def test_pip_without_a_network(tmp_path: Path) -> None:
    done = script(tmp_path, "wanted", python="echo 'ERROR: No matching distribution' >&2; exit 1")
    assert (done.returncode, SAID in done.stderr) == (0, True)


def test_a_failure_in_the_browser_is_one(tmp_path: Path) -> None:
    failing = 'case "$*" in *pytest*) echo "$@"; exit 3 ;; esac'
    done = script(tmp_path, "wanted", python=failing, chromium="exit 0")
    assert (done.returncode, done.stdout.strip()) == (3, "-m pytest tests/browser")
