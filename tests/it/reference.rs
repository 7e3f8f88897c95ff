//! The reference of the nodes: complete, as old as its sources, and true of the running daemon.

use onceover_catalog::NodeSpec;
use onceover_tests::reference::{Recordings, catalog, document, record::record, redact::shape, render::render, videos};

fn names(catalog: &[NodeSpec]) -> Vec<String> {
    catalog.iter().map(|spec| spec.name.to_string()).collect()
}

/// `make reference` writes what it finds instead of comparing.
fn writes() -> bool {
    std::env::var_os("ONCEOVER_REFERENCE").is_some_and(|value| value == "write")
}

#[tokio::test]
async fn every_node_asked_twice_hits_by_its_reuse_fields_and_the_reference_tells_it_so() {
    let catalog = catalog();
    // Every node of the catalog: a miss, joined in flight, a hit. The recorder fails on any that is not.
    let found = record(&catalog).await;
    assert_eq!(found.nodes.keys().cloned().collect::<Vec<_>>(), names(&catalog));
    if writes() {
        found.store();
        let path = document();
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("the folder is made");
        std::fs::write(&path, render(&catalog, &found)).expect("the reference is written");
        let standing_in = found.nodes.values().filter(|node| node.stand_in).count();
        println!(
            "{}: {} nodes, {standing_in} by stand-ins",
            path.display(),
            found.nodes.len()
        );
        return;
    }
    let stored = Recordings::load();
    let listed: Vec<_> = stored.exchanges().collect();
    let now: Vec<_> = found.exchanges().collect();
    assert_eq!(
        listed.len(),
        now.len(),
        "the reference is older than the catalog: make reference"
    );
    for ((place, stored), (_, found)) in listed.iter().zip(&now) {
        assert_eq!(
            (&stored.call, &stored.request, stored.status, shape(&stored.answer)),
            (&found.call, &found.request, found.status, shape(&found.answer)),
            "{place}: the reference tells otherwise than the daemon; make reference"
        );
    }
}

#[test]
fn the_reference_has_every_node_and_is_as_old_as_its_sources() {
    if writes() {
        return;
    }
    let catalog = catalog();
    let stored = Recordings::load();
    let recorded: Vec<_> = stored.nodes.keys().cloned().collect();
    assert_eq!(
        recorded,
        names(&catalog),
        "the nodes with recorded answers; make reference"
    );
    let text = std::fs::read_to_string(document()).expect("the reference is there: make reference");
    for spec in &catalog {
        assert!(
            text.contains(&format!("\n## {}\n", spec.name)),
            "{} has no section",
            spec.name
        );
    }
    // `${{ stages...` is text; `{{name}}` a place that was not filled.
    let places = text.split("{{").skip(1);
    assert_eq!(
        places.filter(|place| !place.starts_with(' ')).count(),
        0,
        "a place without its answer"
    );
    let now = render(&catalog, &stored);
    if text != now {
        let line = text.lines().zip(now.lines()).position(|(old, new)| old != new);
        panic!(
            "the reference is older than its sources from line {} on: make reference",
            line.map_or(0, |line| line + 1)
        );
    }
}

#[tokio::test]
async fn the_reference_of_videos_tells_what_the_daemon_answers() {
    let found = videos::record().await;
    if writes() {
        found.store();
        println!("{}: {} calls", videos::page().display(), found.exchanges.len());
        return;
    }
    let stored = videos::VideoRecording::load();
    let places: Vec<_> = stored.exchanges.keys().collect();
    assert_eq!(places, found.exchanges.keys().collect::<Vec<_>>(), "make reference");
    for (place, found) in &found.exchanges {
        let stored = &stored.exchanges[place];
        assert_eq!(
            (
                &stored.call,
                stored.status,
                shape(&stored.request),
                shape(&stored.answer)
            ),
            (&found.call, found.status, shape(&found.request), shape(&found.answer)),
            "{place}: the reference tells otherwise than the daemon; make reference"
        );
    }
}

#[test]
fn the_reference_of_videos_is_as_old_as_its_sources() {
    if writes() {
        return;
    }
    let text = std::fs::read_to_string(videos::page()).expect("the page is there: make reference");
    assert!(!text.contains("{{"), "a place without its answer");
    assert!(
        text == videos::VideoRecording::load().render(),
        "the page is older than its sources: make reference"
    );
}
