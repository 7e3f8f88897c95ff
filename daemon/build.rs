//! Compiles the daemon anew when a shipped node changes: files embedded by a macro are not looked at otherwise.

fn main() {
    println!("cargo::rerun-if-changed=../assets/nodes");
}
