#!/bin/sh
set -eu
read -r request                           # one line, a JSON object
text=${request#*'"text_path":"'}          # jq reads every JSON; this reads paths without quotes and backslashes
text=${text%%'"'*}
echo '{"type": "progress", "percent": 10, "message": "counting"}'
words=$(wc -w < "$text")                  # where it fails, exit code and error output say why
echo "counted $text"                      # any other line goes to the run's log
printf '{"type": "output", "output": {"words": %d}}\n' "$words"
