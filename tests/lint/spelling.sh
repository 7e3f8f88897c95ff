#!/usr/bin/env bash
# Looks for misspellings in everything that people read: documents, comments, help, errors. `make lint` runs it.
# Words that are meant as they stand are in tests/lint/spelling.txt.
set -euo pipefail
cd "$(dirname "$0")/../.."

source tests/lint/common.sh
install_tools
# What programs wrote or recorded, media, and foreign text on purpose is left out.
git ls-files -z --cached --others --exclude-standard -- ':!*.lock' ':!docs/technical' ':!tests/fuzz/corpus' \
    ':!tests/reference/recorded' ':!tests/reference/videos.json' ':!assets/api' ':!assets/n8n' ':!tests/src/localhost.pem' \
    ':!daemon/celery/tests/captures' ':!tests/celery/tls' \
    ':!tests/lint/spelling.txt' ':!tests/sessions/*.jsonl' |
    xargs -0 "$home/venv/bin/codespell" --ignore-words tests/lint/spelling.txt
echo "spelling: no misspelling was found" >&2
