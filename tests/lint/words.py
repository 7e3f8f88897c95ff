"""Holds documents to the project's words and to lines of 100 columns; `make lint` runs it.

What is looked at: every Markdown file but those that a program writes (GENERATED). To be added, once their words are
those of the list: daemon, tui, common and tests (comments, help and errors), assets (what files and scripts say).

A word that is meant as it stands (speech that is *said* in a video) is no fault where its pattern does not match; sharpen
the pattern rather than excuse a line.
"""

import re
import subprocess
import sys
from pathlib import Path

COLUMNS = 100
# Written by a program from tables in the code, or kept as they were recorded.
GENERATED = ("docs/limits.md", "docs/technical/", "tests/reference/", "assets/prompts/")
# Tables that are written between two marks are left out by being tables; their words are those of the table's file.
TABLES_WRITTEN = ("docs/migrating.md",)
# Lists the words to leave; quotes the sentences of the product.
WORDS_ALLOWED = ("docs/glossary.md", "docs/rules.md")

# What to leave, and what to write.
WORDS = [
    (r"\bdoors?\b", "middleware, entry point, or what it is"),
    (r"\bkeepers?\b", "reaper"),
    (r"\bnudge[sd]?\b", "recheck, notify"),
    (r"\btold\b(?! apart)", "reported, notified, or who reports it"),
    (r"\banew\b", "again"),
    (r"\bwhoever\b", "anyone who, the one that"),
    (r"\bsomebody\b", "another user, a client, or who it is"),
    (r"\b(is|are|was|were) away\b", "is unreachable"),
    (r"\b(is|are) had\b", "exists, is available"),
    (r"\bwhat (it|they) lacks?\b", "what is missing"),
    (r"\bof (its|their) own\b", "separate, its own ..."),
    (r"\bdid not do it\b", "failed"),
    (r"\bbroke down\b", "failed"),
    (r"\b(a|the|each|next|first|last) looks?\b(?! (at|for|like))", "check, read"),
]


def documents():
    names = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "*.md"],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    return [name for name in sorted(names.split("\0")) if name and Path(name).is_file() and not name.startswith(GENERATED)]


def prose(text):
    """Number and text of the lines that are neither code nor comments, and whether each is a table's."""
    fence = None
    for number, line in enumerate(text.splitlines(), 1):
        start = re.match(r"\s*(```+|~~~+)", line)
        if fence:
            if start and start[1].startswith(fence) and line.strip() == start[1]:
                fence = None
            continue
        if start:
            fence = start[1]
            continue
        # A comment of HTML is a mark for a program.
        if line.startswith("<!--"):
            continue
        # Indented code follows an empty line in the sources; lists of the documents are indented by less than four.
        if line.startswith("    "):
            continue
        yield number, line, line.lstrip().startswith("|")


def without_code(line):
    """The line with code, addresses and targets of links left out."""
    line = re.sub(r"`[^`]*`", "``", line)
    return re.sub(r"\]\([^)]*\)", "]()", line)


def is_too_long(line):
    # A line that is one word, such as a link, cannot be broken.
    return len(line) > COLUMNS and re.search(r"\S\s+\S", line.strip()[: COLUMNS - 4].lstrip("-*#>0123456789. ")) is not None


def faults(name):
    for number, line, is_table in prose(Path(name).read_text(encoding="utf-8")):
        place = f"{name}:{number}"
        if is_too_long(line) and not is_table and not line.startswith("#"):
            yield f"{place}: {len(line)} columns; prose has at most {COLUMNS}"
        if name in WORDS_ALLOWED or (is_table and name in TABLES_WRITTEN):
            continue
        for pattern, instead in WORDS:
            for found in re.finditer(pattern, without_code(line), re.IGNORECASE):
                yield f"{place}: '{found[0]}': write {instead}"


def main():
    names = documents()
    found = [fault for name in names for fault in faults(name)]
    print("\n".join(found), end="\n" if found else "")
    if found:
        sys.exit(f"{len(found)} faults in documents (tests/lint/words.py)")
    print(f"words: {len(names)} documents have the project's words, and lines of at most {COLUMNS} columns")


main()
