import json, pathlib, sys

request = json.load(sys.stdin)
lines = pathlib.Path(request["input"]["text_path"]).read_text().splitlines()
if not lines:
    print(json.dumps({"type": "error", "message": "the file has no lines; give one that has"}))
    sys.exit(1)
kept = [line for line in lines if line or request["input"]["keep_empty"]]
print(json.dumps({"type": "progress", "percent": 50, "message": f"{len(kept)} lines"}), flush=True)
result = pathlib.Path(request["output_dir"]) / "reversed.txt"
result.write_text("\n".join(reversed(kept)) + "\n")
print(json.dumps({"type": "output", "output": {"reversed_path": str(result)}}))
