"""Prints the deb-src lines that belong to the distribution's own entries of this machine.

They are derived from /etc/apt, in both of its formats, so that a mirror or a snapshot in use there
is used for sources too. Entries of third parties are left out: most of them have no sources.
"""

import pathlib
import re
import sys

APT = pathlib.Path("/etc/apt")


def codename(os_release):
    found = re.search(r'^VERSION_CODENAME="?(\w+)"?', os_release, re.MULTILINE)
    return found.group(1) if found else ""


def fields_of(stanza):
    """The fields of one deb822 stanza, continuation lines joined."""
    fields, name = {}, None
    for line in stanza.splitlines():
        if line.startswith("#"):
            continue
        if line[:1].isspace() and name:
            fields[name] += "\n" + line
        elif ":" in line:
            name, value = line.split(":", 1)
            name = name.strip().lower()
            fields[name] = value.strip()
    return fields


def entries_of_deb822(text):
    for stanza in re.split(r"\n\s*\n", text):
        fields = fields_of(stanza)
        enabled = fields.get("enabled", "yes").lower() != "no"
        if not enabled or "deb" not in fields.get("types", "").split():
            continue
        # A key inside the stanza cannot be given in one line; apt then uses the keys it trusts.
        signed_by = fields.get("signed-by", "")
        options = f"[signed-by={signed_by}] " if signed_by.startswith("/") else ""
        for uri in fields.get("uris", "").split():
            for suite in fields.get("suites", "").split():
                yield options, uri, suite, fields.get("components", "").split()


def entries_of_lines(text):
    for line in text.splitlines():
        found = re.match(r"deb\s+(?:\[([^]]*)\]\s+)?(\S+)\s+(\S+)\s+([^#]+)", line)
        if not found:
            continue
        # Sources have no architecture.
        words = [word for word in (found.group(1) or "").split() if not word.startswith("arch=")]
        options = f"[{' '.join(words)}] " if words else ""
        yield options, found.group(2), found.group(3), found.group(4).split()


def source_lines(files, release):
    """`files` maps names to texts."""
    lines = []
    for name, text in files.items():
        entries = entries_of_deb822(text) if name.endswith(".sources") else entries_of_lines(text)
        for options, uri, suite, components in entries:
            official = suite == release or suite.startswith(release + "-")
            if release and official and "main" in components:
                lines.append(f"deb-src {options}{uri} {suite} {' '.join(components)}")
    return list(dict.fromkeys(lines))


def main():
    paths = [APT / "sources.list", *sorted((APT / "sources.list.d").glob("*"))]
    files = {str(path): path.read_text() for path in paths if path.is_file()}
    lines = source_lines(files, codename(pathlib.Path("/etc/os-release").read_text()))
    if not lines:
        sys.exit("No entry of the distribution in /etc/apt: it is not known where its sources lie.")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
