//! The Python programs of nodes without the libraries they call: what they make of requests and of results.

use std::{path::Path, process::Command};

#[test]
fn the_python_programs_of_nodes_pass_their_own_tests() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("nodes");
    let tests = Command::new("python3")
        .args(["-B", "-m", "unittest", "discover", "--start-directory"])
        .arg(folder)
        .output()
        .expect("python3 starts");
    let told = String::from_utf8_lossy(&tests.stderr);
    assert!(tests.status.success(), "{told}");
    // Nothing found is nothing tested.
    assert!(
        told.lines()
            .any(|line| line.starts_with("Ran ") && line != "Ran 0 tests in 0.000s"),
        "{told}"
    );
}
