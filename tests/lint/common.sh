# What the checks share that need programs from PyPI: a folder below target/ with them. Sourced from the repository's root.

target=${CARGO_TARGET_DIR:-target}
mkdir -p "$target"
requirements=tests/lint/requirements.txt
home=$(cd "$target" && pwd)/lint-$(sha256sum "$requirements" | cut -c 1-12)

# Installs the programs into $home/venv/bin, once.
install_tools() {
    if [ -e "$home/complete" ]; then return; fi
    echo "lint: installing $requirements into $home (once)" >&2
    rm -rf "$home"
    mkdir -p "$home"
    if ! { python3 -m venv "$home/venv" &&
        "$home/venv/bin/pip" install --quiet --disable-pip-version-check --only-binary :all: -r "$requirements"; } \
        >"$home/install.log" 2>&1 </dev/null; then
        cat "$home/install.log" >&2
        {
            echo "lint: $requirements could not be installed. It needs python3 with venv (apt-get install python3-venv) and,"
            echo "the first time, PyPI or a mirror of it (PIP_INDEX_URL). Nothing was checked, so this counts as a failure."
        } >&2
        exit 1
    fi
    touch "$home/complete"
}
