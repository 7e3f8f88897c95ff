//! Compiles the catalog again when a shipped node changes: Cargo does not see the files that a macro embeds.

fn main() {
    println!("cargo::rerun-if-changed=../../assets/nodes");
}
