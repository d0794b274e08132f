"""What can be wrong in tools/bootstrap without a bare machine: apt's formats and the sum."""

import importlib.util
import json
import pathlib
import subprocess

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[3]


def load(name):
    spec = importlib.util.spec_from_file_location(name, ROOT / f"tools/dev/{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


DEB822 = """# a comment
Types: deb
URIs: http://mirror.example/debian
Suites: bookworm bookworm-updates
Components: main
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg

Types: deb
URIs: http://third.example/repo
Suites: nodistro
Components: main

Enabled: no
Types: deb
URIs: http://off.example/debian
Suites: bookworm
Components: main
"""
LINES = """# deb http://commented.example/ubuntu noble main
deb [arch=amd64 signed-by=/k.gpg] http://mirror.example/ubuntu noble main universe  # ours
deb http://mirror.example/ubuntu noble-security main
deb-src http://mirror.example/ubuntu noble main
deb http://third.example/cloud cloud-noble main
"""


def test_deb822_entries_of_the_distribution():
    lines = load("source_entries").source_lines({"debian.sources": DEB822}, "bookworm")
    signed = "[signed-by=/usr/share/keyrings/debian-archive-keyring.gpg]"
    assert lines == [f"deb-src {signed} http://mirror.example/debian bookworm main",
                     f"deb-src {signed} http://mirror.example/debian bookworm-updates main"]


def test_one_line_entries_of_the_distribution():
    lines = load("source_entries").source_lines({"sources.list": LINES}, "noble")
    assert lines == ["deb-src [signed-by=/k.gpg] http://mirror.example/ubuntu noble main universe",
                     "deb-src http://mirror.example/ubuntu noble-security main"]


def test_no_release_no_entries():
    assert load("source_entries").source_lines({"sources.list": LINES}, "") == []


def write_log(folder, results):
    path = folder / "build/meson-logs/all.json"
    path.parent.mkdir(parents=True)
    path.write_text("".join(json.dumps({"name": f"t{number}", "result": result, "duration": 1,
                                        "stdout": ""}) + "\n"
                            for number, result in enumerate(results)))
    return path


def total(capsys, failed_builds, paths):
    status = load("test_results").summarise(failed_builds, paths)
    return status, capsys.readouterr().out.splitlines()[-1]


@pytest.mark.parametrize("results, builds, expected", [
    (["OK", "OK", "SKIP"], 0, (0, "2 passed, 0 failed, 1 skipped")),
    (["OK", "FAIL", "TIMEOUT", "ERROR"], 0, (1, "1 passed, 3 failed, 0 skipped")),
    (["OK", "UNEXPECTEDPASS", "EXPECTEDFAIL"], 0, (1, "2 passed, 1 failed, 0 skipped")),
    (["OK"], 1, (1, "1 passed, 1 failed, 0 skipped")),
    ([], 0, (1, "0 passed, 1 failed, 0 skipped")),
])
def test_sum(capsys, tmp_path, results, builds, expected):
    assert total(capsys, builds, [write_log(tmp_path, results)]) == expected


def test_a_run_without_a_log_counts_nothing(capsys, tmp_path):
    log = write_log(tmp_path, ["OK"])
    assert total(capsys, 0, [log, tmp_path / "none.json"]) == (0, "1 passed, 0 failed, 0 skipped")


def test_a_report_takes_in_visits(capsys, tmp_path):
    visit = tmp_path / "first"
    visit.mkdir()
    (visit / "visit.md").write_text("# A visit\n\ncommit abc\n\n## Links\n\n| h | 55 |\n")
    load("test_results").report("the command", [visit], [write_log(tmp_path, ["OK", "FAIL"])])
    text = capsys.readouterr().out
    assert "| build: all | 1 | 1 | 0 |" in text
    chapter = text[text.index("## A visit to a die elsewhere: first"):]
    assert "commit abc" in chapter and "\n### Links\n\n| h | 55 |" in chapter


def test_a_folder_without_a_visit_is_refused(tmp_path):
    done = subprocess.run([str(ROOT / "tools/bootstrap"), "test", "--full", str(tmp_path)],
                          capture_output=True, text=True, check=False)
    assert done.returncode == 1 and "has no visit.json" in done.stderr


def judge(tmp_path, host, pages):
    zero = {"pages_out": 0, "bytes_out": 0, "pages_in": 0, "bytes_in": 0}
    process = {"dies": [{"tier": {"hbm": 1, "peer": 0, "host": host}}],
               "moves": {"headroom": {**zero, "pages_out": pages}, "small": zero}}
    path = tmp_path / "status.json"
    path.write_text(json.dumps([process]))
    return subprocess.run(["python3", str(ROOT / "tools/dev/judge_demo.py"), str(path)],
                          capture_output=True, check=False).returncode


def test_the_demonstration_must_spill_and_move(tmp_path):
    assert judge(tmp_path, 1, 1) == 0
    assert judge(tmp_path, 0, 1) != 0
    assert judge(tmp_path, 1, 0) != 0
