"""How much of speech is heard. Only the standard library."""

import difflib
import re


def words(text):
    # The models spell as Americans do.
    return re.findall(r"[a-z']+", text.lower().replace("harbour", "harbor").replace("neighbour", "neighbor"))


def word_errors(said, heard):
    """Words that are wrong, missing or too many, as a part of the words that were spoken."""
    said, heard = words(said), words(heard)
    same = sum(block.size for block in difflib.SequenceMatcher(None, said, heard, autojunk=False).get_matching_blocks())
    return (max(len(said), len(heard)) - same) / len(said)
