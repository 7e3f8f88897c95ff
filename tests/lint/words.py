"""Holds documents and sources to the project's words, and documents to lines of 100 columns; `make lint` runs it.

It reads the prose of every Markdown file but those that a program writes (GENERATED), and the comments and strings of
every Rust, Lua, shell and Python file. Code, names and what stands between backquotes is no prose.

Where a word is right in one file (a name of another system, speech that is *said* in a video), that file is listed with
the word in MEANT. Where it is right in a phrase, sharpen the pattern rather than excuse a file.
"""

import io
import re
import subprocess
import sys
import tokenize
from pathlib import Path

COLUMNS = 100
# Written by a program from tables in the code, or kept as they were recorded.
GENERATED = ("docs/limits.md", "docs/technical/", "tests/reference/", "assets/prompts/")
# Tables that are written between two marks are left out by being tables; their words are those of the table's file.
TABLES_WRITTEN = ("docs/migrating.md",)
# Lists the words to leave; quotes the sentences of the product.
WORDS_ALLOWED = ("docs/glossary.md", "docs/rules.md", "tests/lint/words.py")

# What to leave, and what to write.
WORDS = [
    ("door", r"\bdoors?\b", "middleware, entry point, or what it is"),
    ("keeper", r"\bkeepers?\b", "reaper"),
    ("hub", r"\bhubs?\b", "event bus"),
    ("nudge", r"\bnudge[sd]?\b", "recheck, notify"),
    ("told", r"\btold\b(?! apart)", "reported, notified, or who reports it"),
    ("anew", r"\banew\b", "again"),
    ("whoever", r"\bwhoever\b", "anyone who, the one that"),
    ("somebody", r"\bsomebody\b", "another user, a client, or who it is"),
    ("is away", r"\b(is|are|was|were) away\b", "is unreachable"),
    ("is gone", r"\b(is|are|was|were) gone\b", "was removed, has ended, is missing"),
    ("is had", r"\b(is|are) had\b", "exists, is available"),
    ("what it lacks", r"\bwhat (it|they) lacks?\b", "what is missing"),
    ("of its own", r"\bof (its|their) own\b", "separate, its own ..."),
    ("did not do it", r"\bdid not do it\b", "failed"),
    ("broke down", r"\bbroke down\b", "failed"),
    ("look", r"\b(a|the|each|next|first|last) looks?\b(?! (at|for|like))", "check, read"),
    ("said", r"\b(is|are|was|were|be|as|what was|who) said\b", "reported, stated, or who says it"),
]

ANY_WORD = re.compile("|".join(pattern for _, pattern, _ in WORDS), re.IGNORECASE)

# Words that are right where they stand, by the beginning of the file's path: the name of the cache of models.
MEANT = {
    "assets/nodes/": ("hub",),
    "tests/nodes/": ("hub",),
    "common/catalog/src/lib.rs": ("hub",),
    "daemon/server/src/commands/models.rs": ("hub",),
    "daemon/server/src/commands/nodes.rs": ("hub",),
    "daemon/server/src/main.rs": ("hub",),
    "daemon/server/src/readiness": ("hub",),
    # The purpose of a node.
    "tui/tests/it/fixture.rs": ("said",),
    "tui/tests/it/screens.rs": ("said",),
}


def list_files(*patterns):
    names = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", *patterns],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    return [name for name in sorted(set(names.split("\0"))) if name and Path(name).is_file() and not name.startswith(GENERATED)]


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
    """The line with code, placeholders, addresses, targets of links and names of several parts left out."""
    line = re.sub(r"`[^`]*`", "``", line)
    line = re.sub(r"\]\([^)]*\)", "]()", line)
    return re.sub(r"\{[^{}]*\}|\w+(?:[.:/]+\w+)+", "", line)


def is_too_long(line):
    # A line that is one word, such as a link, cannot be broken.
    return len(line) > COLUMNS and re.search(r"\S\s+\S", line.strip()[: COLUMNS - 4].lstrip("-*#>0123456789. ")) is not None


# Comments and strings, the longer beginnings first, and code that would be taken for one.
RUST = re.compile(
    r"""(?P<comment>//[^\n]*|/\*.*?\*/)
    |(?P<code>'(?:\\.[^']*|[^\\'\n])'|b'(?:\\.|[^\\'])')
    |(?P<string>b?r(?P<hashes>\#*)".*?"(?P=hashes)|b?"(?:\\.|[^"\\])*")""",
    re.VERBOSE | re.DOTALL,
)
LUA = re.compile(
    r"""(?P<comment>--\[(?P<level>=*)\[.*?\](?P=level)\]|--[^\n]*)
    |(?P<string>\[(?P<inner>=*)\[.*?\](?P=inner)\]|"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*')""",
    re.VERBOSE | re.DOTALL,
)
SHELL = re.compile(
    r"""(?P<code>\$\#|\\.)
    |(?P<string>"(?:\\.|[^"\\])*"|'[^']*')
    |(?P<comment>(?<!\S)\#[^\n]*)""",
    re.VERBOSE | re.DOTALL,
)


def pieces_by_pattern(pattern, text):
    for found in pattern.finditer(text):
        piece = found.groupdict().get("comment") or found.groupdict().get("string")
        if piece:
            yield text.count("\n", 0, found.start()) + 1, piece


def pieces_of_python(text):
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type in (tokenize.COMMENT, tokenize.STRING):
            yield token.start[0], token.string


def pieces_of_source(name, text):
    """The comments and strings of a source, each with the number of its first line."""
    if name.endswith(".py"):
        return pieces_of_python(text)
    patterns = {".rs": RUST, ".lua": LUA, ".sh": SHELL}
    return pieces_by_pattern(patterns[Path(name).suffix], text)


def is_meant(name, word):
    return any(name.startswith(start) and word in words for start, words in MEANT.items())


def word_faults(name, number, line):
    if not ANY_WORD.search(line):
        return
    for word, pattern, instead in WORDS:
        if is_meant(name, word):
            continue
        for found in re.finditer(pattern, without_code(line), re.IGNORECASE):
            yield f"{name}:{number}: '{found[0]}': write {instead}"


def document_faults(name):
    for number, line, is_table in prose(Path(name).read_text(encoding="utf-8")):
        if is_too_long(line) and not is_table and not line.startswith("#"):
            yield f"{name}:{number}: {len(line)} columns; prose has at most {COLUMNS}"
        if name in WORDS_ALLOWED or (is_table and name in TABLES_WRITTEN):
            continue
        yield from word_faults(name, number, line)


def source_faults(name):
    text = Path(name).read_text(encoding="utf-8")
    # Most files have none of the words, also not in their code.
    if name in WORDS_ALLOWED or not ANY_WORD.search(text):
        return
    for first, piece in pieces_of_source(name, text):
        for number, line in enumerate(piece.splitlines(), first):
            yield from word_faults(name, number, line)


def main():
    documents = list_files("*.md")
    sources = list_files("*.rs", "*.lua", "*.sh", "*.py")
    found = [fault for name in documents for fault in document_faults(name)]
    for name in sources:
        found.extend(source_faults(name))
    print("\n".join(found), end="\n" if found else "")
    if found:
        sys.exit(f"{len(found)} faults in words and lines (tests/lint/words.py)")
    print(
        f"words: {len(documents)} documents and {len(sources)} sources have the project's words; documents have lines "
        f"of at most {COLUMNS} columns"
    )


main()
