"""Each call of a library, in each program, is one that the pinned release takes. The signatures are recorded from the source
in the packages (`make signatures`), so that neither the libraries nor a network are needed here."""

import json
import pathlib
import unittest

import calls
import record_signatures

RECORDED = json.loads(pathlib.Path(record_signatures.RECORD).read_text(encoding="utf-8"))


def fault(use, recorded, passed_on=()):
    """What is wrong with a call; None: one of the signatures takes it."""
    faults = []
    for one in recorded["signatures"]:
        names = one["parameters"]
        given = set(names[: use.positional]) | set(use.keywords)
        known = {*names, *one["keyword_only"], *(recorded.get("reads", []) if one["more_keywords"] else []), *passed_on}
        if use.positional > len(names) and not one["more_positional"]:
            faults.append(f"it takes {len(names)} values by position, and {use.positional} are given")
        elif twice := set(names[: use.positional]) & set(use.keywords):
            faults.append(f"{', '.join(sorted(twice))} is given twice")
        elif unknown := set(use.keywords) - known:
            faults.append(f"it knows no {', '.join(sorted(unknown))}")
        elif missing := set(one["needed"]) - given:
            faults.append(f"{', '.join(sorted(missing))} is missing")
        else:
            return None
    return "; ".join(faults)


# Keywords that a function hands to a library which is not recorded.
PASSED_ON = {"qwen_asr.Qwen3ASRModel.LLM": ("max_model_len", "gpu_memory_utilization")}


class Signatures(unittest.TestCase):
    def test_what_programs_use_is_there_and_takes_what_it_is_given(self):
        faults, called = [], 0
        for program in calls.ROOTS:
            used = calls.uses(program)
            self.assertTrue(any(use.is_call for use in used), program)
            for use in used:
                recorded = RECORDED["symbols"].get(use.symbol)
                if recorded is None:
                    faults.append(f"{use}: it is not recorded; run make signatures")
                elif use.is_call and not recorded.get("native"):
                    called += 1
                    if "signatures" not in recorded:
                        faults.append(f"{use}: it is recorded as something that is not called; run make signatures")
                    elif why := fault(use, recorded, PASSED_ON.get(use.symbol, ())):
                        faults.append(f"{use} of {recorded['release']}: {why}")
        self.assertEqual(faults, [])
        self.assertGreater(called, 25)

    def test_settings_in_dictionaries_are_ones_that_the_library_has(self):
        checked = set()
        for program in calls.ROOTS:
            for use in calls.uses(program):
                for keyword, keys in use.options:
                    known = RECORDED["options"].get(f"{use.symbol}.{keyword}")
                    if known is not None:
                        checked.add(f"{use.symbol}.{keyword}")
                        self.assertEqual(set(keys) - set(known), set(), use)
        self.assertEqual(checked, set(RECORDED["options"]))

    def test_the_recorded_releases_are_the_pinned_ones(self):
        pinned = {module: record_signatures.requirement(module) for module in record_signatures.PACKAGES}
        self.assertEqual(RECORDED["releases"], pinned, "run make signatures")
        # Each service that pins the same package pins the same release.
        for requirements in record_signatures.NODES.glob("*/requirements.txt"):
            for line in requirements.read_text().splitlines():
                name, _, release = line.partition("==")
                known = [one for one in pinned.values() if one.partition("==")[0] == name.split("[")[0]]
                if release and known and not line.startswith("#"):
                    self.assertEqual(known, [f"{name.split('[')[0]}=={release}"], requirements)

    def test_every_module_that_a_program_imports_is_among_those_that_are_followed(self):
        for program in calls.programs():
            known = calls.ROOTS.get(program, {})
            within = [names for (of, _), names in calls.WITHIN.items() if of == program]
            symbols = {symbol for names in [known, *within] for symbol in names.values() if symbol}
            for module, name in calls.modules(program).items():
                if module in calls.NOT_HELD:
                    continue
                followed = any((symbol + ".").startswith(module + ".") for symbol in symbols)
                self.assertTrue(followed, f"{program} imports {module}, which calls.py does not know")
                if name is not None:
                    named = {names.get(name) for names in [known, *within]}
                    self.assertIn(module, named, f"{program} names {module} {name}, which calls.py takes for another")

    def test_names_that_are_followed_are_used(self):
        for program, names in calls.ROOTS.items():
            used = [use.symbol for use in calls.uses(program)]
            for name, symbol in names.items():
                self.assertTrue(any(one.startswith(symbol) for one in used), f"{program} has no {name} ({symbol})")
        for program, function in calls.WITHIN:
            self.assertIn(f"def {function}(", (record_signatures.NODES / program).read_text(), program)

    def test_a_call_that_no_signature_takes_is_found(self):
        plain = {"parameters": ["a", "b"], "keyword_only": ["c"], "needed": ["a"]}
        closed = {"signatures": [{**plain, "more_positional": False, "more_keywords": False}]}
        open_one = {"signatures": [{**plain, "more_positional": False, "more_keywords": True}], "reads": ["d"]}
        for recorded, positional, keywords, why in (
            (closed, 1, (), None),
            (closed, 0, ("a", "c"), None),
            (closed, 2, ("c",), None),
            (closed, 0, ("b",), "a is missing"),
            (closed, 3, (), "it takes 2 values by position, and 3 are given"),
            (closed, 1, ("a",), "a is given twice"),
            (closed, 1, ("d",), "it knows no d"),
            (open_one, 1, ("d",), None),
            (open_one, 1, ("e",), "it knows no e"),
        ):
            use = calls.Use("x.py", 1, "x.y", positional, keywords)
            self.assertEqual(fault(use, recorded), why)


if __name__ == "__main__":
    unittest.main()
