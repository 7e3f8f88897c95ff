#!/bin/sh
# Puts manual pages and completion of both programs where man and the shells find them; --remove takes them away.
# The programs are those of `make install`; BIN and SHARE name other folders.
set -eu

bin=${BIN:-${CARGO_HOME:-$HOME/.cargo}/bin}
share=${SHARE:-${XDG_DATA_HOME:-$HOME/.local/share}}

pages=$share/man/man1
bash=$share/bash-completion/completions
zsh=$share/zsh/site-functions
fish=$share/fish/vendor_completions.d

for program in onceover onceoverd; do
    # The names of pages are those of the program and of its commands: onceover.1, onceover-tree.1.
    rm -f "$pages/$program.1" "$pages/$program-"*.1
    rm -f "$bash/$program" "$zsh/_$program" "$fish/$program.fish"
    [ "${1:-}" = --remove ] && continue
    mkdir -p "$pages" "$bash" "$zsh" "$fish"
    "$bin/$program" man "$pages"
    "$bin/$program" completions bash >"$bash/$program"
    "$bin/$program" completions zsh >"$zsh/_$program"
    "$bin/$program" completions fish >"$fish/$program.fish"
done
if [ "${1:-}" != --remove ]; then
    echo "manual pages and completion are below $share; zsh reads them with: fpath=($zsh \$fpath)"
fi
