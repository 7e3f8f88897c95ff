# What tests and checks need from PyPI, in a folder below target/. Sourced.

# make_venv HOME REQUIREMENTS [OPTION...]: installs what a file lists into HOME/venv, with options of pip. Fails with the log
# of the installation and what it needs.
make_venv() {
    local home=$1 requirements=$2
    shift 2
    rm -rf "$home/venv"
    mkdir -p "$home"
    if ! { python3 -m venv "$home/venv" &&
        "$home/venv/bin/pip" install --quiet --disable-pip-version-check "$@" -r "$requirements"; } \
        >"$home/install.log" 2>&1 </dev/null; then
        cat "$home/install.log" >&2
        {
            echo "$requirements could not be installed. It needs python3 with venv (apt-get install python3-venv) and,"
            echo "the first time, PyPI or a mirror of it (PIP_INDEX_URL)."
        } >&2
        return 1
    fi
}
