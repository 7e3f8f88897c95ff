# What the checks share that need programs from PyPI: a folder below target/ with them. Sourced from the repository's root.

source tests/venv.sh
target=${CARGO_TARGET_DIR:-target}
mkdir -p "$target"
requirements=tests/lint/requirements.txt
home=$(cd "$target" && pwd)/lint-$(sha256sum "$requirements" | cut -c 1-12)

# Installs the programs into $home/venv/bin, once.
install_tools() {
    if [ -e "$home/complete" ]; then return; fi
    echo "lint: installing $requirements into $home (once)" >&2
    if ! make_venv "$home" "$requirements" --only-binary :all:; then
        echo "lint: nothing was checked, so this counts as a failure" >&2
        exit 1
    fi
    touch "$home/complete"
}
