//! `onceoverd import`: enters tasks into the lists that are known only from what other workers wrote (S5), also what they
//! have in flight. It walks over the keyspace once, which nothing else does.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use anyhow::{Context, bail};
use onceover_catalog::Catalog;
use onceover_types::{NodeName, TaskId};

use crate::{
    app::{readiness, store_options},
    catalog::load_catalog,
    config::Config,
    console::print_line,
    events::EventBus,
    services::{ChangedStages, ForeignStages, TakenOver},
};
use onceover_run::paths::Roots;
use onceover_store::{FoundForeign, Store};

/// Names of one kind that the report lists.
const LISTED: usize = 20;
/// Both spellings of a key, and one more look.
const LOOKS: usize = 4;

/// What came of the keys.
#[derive(Default)]
struct Report {
    entered: BTreeMap<TaskId, Vec<NodeName>>,
    known: usize,
    in_flight: Vec<String>,
    lost: Vec<String>,
    useless: Vec<String>,
    unusable: BTreeSet<String>,
}

/// Looks at every key that begins with `prefix`, makes finished foreign stages records of ours, and notes those in flight.
pub async fn import(config: &Config, prefix: &str, dry_run: bool) -> anyhow::Result<()> {
    if config.redis.url.is_none() {
        bail!("name the Redis to import from: --redis URL, ONCEOVER_REDIS, or redis.url in the configuration");
    }
    let importer = Importer::open(config)?;
    importer.store.check_layout().await?;
    let mut stages = BTreeSet::new();
    let mut report = Report::default();
    let mut from = Some(0);
    while let Some(at) = from {
        let (found, next) = importer
            .store
            .scan(prefix, at)
            .await
            .context("the keys cannot be walked over; the Redis user of this command needs SCAN")?;
        for found in found {
            match found {
                FoundForeign::Stage(task, node) => {
                    stages.insert((task, node));
                }
                FoundForeign::Unusable(key, why) => {
                    report.unusable.insert(format!("{key}: {why}"));
                }
            }
        }
        from = next;
    }
    for (task, node) in &stages {
        importer.enter(task, node, dry_run, &mut report).await?;
    }
    report.print(dry_run);
    Ok(())
}

/// What stages are entered with.
struct Importer {
    store: Store,
    catalog: Arc<Catalog>,
    foreign: ForeignStages,
}

impl Importer {
    /// Opens the configured Redis.
    fn open(config: &Config) -> anyhow::Result<Self> {
        let catalog = load_catalog(config)?;
        let names: Vec<_> = catalog.iter().map(|node| node.name.clone()).collect();
        let store = Store::open(store_options(config, None), names, Arc::new(()))?;
        let share = config.data.join("share/workflows");
        std::fs::create_dir_all(&share).with_context(|| format!("the data folder {}", share.display()))?;
        let readiness = readiness(config, &catalog)?;
        let catalog = Arc::new(catalog);
        let foreign = ForeignStages::new(
            store.clone(),
            Arc::clone(&catalog),
            readiness.into(),
            Roots::new(share, Vec::new())?.into(),
            EventBus::default(),
            ChangedStages::default(),
        );
        Ok(Self {
            store,
            catalog,
            foreign,
        })
    }

    /// Enters one stage, unless it is known.
    async fn enter(&self, task: &TaskId, node: &NodeName, dry_run: bool, report: &mut Report) -> anyhow::Result<()> {
        let is_in_catalog = self.catalog.get(node.as_str()).is_some();
        let mut ignore: Vec<String> = Vec::new();
        let name = format!("{node} of {task}");
        for _ in 0..LOOKS {
            let Some((json, is_noted)) = self.store.look(task, node, &ignore).await? else {
                match ignore.is_empty() {
                    true => report.known += 1,
                    false => report.add_useless(is_in_catalog, name),
                }
                return Ok(());
            };
            let taken = if dry_run {
                self.foreign.would_note(node, &json)
            } else {
                self.foreign.note(task, node, &json, false).await?
            };
            match taken {
                TakenOver::Adopted => {}
                TakenOver::InFlight(_) if is_noted => {
                    report.known += 1;
                    return Ok(());
                }
                TakenOver::InFlight(state) => report.in_flight.push(format!("{name} ({state})")),
                TakenOver::Lost => report.lost.push(name),
                // There may be one under each spelling.
                TakenOver::Useless => {
                    ignore.push(json.sha);
                    continue;
                }
            }
            report.entered.entry(task.clone()).or_default().push(node.clone());
            return Ok(());
        }
        report.add_useless(is_in_catalog, name);
        Ok(())
    }
}

impl Report {
    /// Keys that are named like a stage of a node outside the catalog, and hold none, are other programs'.
    fn add_useless(&mut self, is_in_catalog: bool, name: String) {
        if is_in_catalog {
            self.useless.push(name);
        }
    }

    fn print(&self, dry_run: bool) {
        let stages: usize = self.entered.values().map(Vec::len).sum();
        let entered = if dry_run { "would enter" } else { "entered" };
        print_line!("{entered} {stages} stages of {} tasks", self.entered.len());
        print_line!("known already: {} stages", self.known);
        let listed = |what: &str, names: &mut dyn Iterator<Item = &String>, count: usize| {
            if count == 0 {
                return;
            }
            print_line!("{what}: {count}");
            for name in names.take(LISTED) {
                print_line!("  {name}");
            }
            if count > LISTED {
                print_line!("  ... and {} more", count - LISTED);
            }
        };
        listed(
            "of these still in flight with another worker",
            &mut self.in_flight.iter(),
            self.in_flight.len(),
        );
        listed(
            "of these lost, not heard of for two hours",
            &mut self.lost.iter(),
            self.lost.len(),
        );
        listed(
            "skipped, no stage in its JSON",
            &mut self.useless.iter(),
            self.useless.len(),
        );
        listed(
            "skipped, no task id that Onceover takes",
            &mut self.unusable.iter(),
            self.unusable.len(),
        );
    }
}
