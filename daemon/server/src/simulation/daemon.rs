//! A simulated daemon: put together as the real one is, with the transport, the programs and the receivers of the world.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use onceover_run::paths::Roots;
use onceover_store::Store;
use tokio::{sync::watch, task::JoinSet};
use tokio_util::sync::CancellationToken;

use super::{
    plan::{HEARTBEAT, LEASE, SCHEDULE, TTL, node_files},
    programs::SimulatedPrograms,
    receivers::{SimulatedCourier, TIMEOUT},
    world::{DaemonStart, World},
};
use crate::{
    app::{
        background::Preparing,
        compose::{Outside, Services, Shared},
        machine::Home,
        parts::{Loaded, store_options},
    },
    config::Config,
    data_dir::DataDir,
    metrics::RedisCalls,
};

/// A start of a daemon that works.
pub(super) struct SimulatedDaemon {
    pub(super) start: DaemonStart,
    pub(super) services: Arc<Services>,
    stop: CancellationToken,
    tasks: JoinSet<()>,
}

/// The configuration of a daemon with its data in `folder`.
fn configuration(world: &World, folder: &Path, nodes: &Path) -> Config {
    let mut config = Config::default();
    config.data = folder.to_owned();
    config.node_dirs = vec![nodes.to_owned()];
    config.redis.url = Some(world.url.clone());
    config.slots = [("cpu".to_owned(), 2), ("gpu".to_owned(), 1)].into();
    config.runs.lease = LEASE;
    config.runs.heartbeat = HEARTBEAT;
    config.retention.ttl = TTL;
    config.callbacks.schedule = SCHEDULE.to_vec();
    config.callbacks.timeout = TIMEOUT;
    config.callbacks.max_at_once = 4;
    config.callbacks.max_per_host = 2;
    config.callbacks.allow = ["good.test", "unsteady.test", "silent.test"].map(String::from).to_vec();
    config
}

/// Where the daemons of a simulation have their data, and the files of their nodes.
pub(super) struct Folders {
    root: tempfile::TempDir,
}

impl Folders {
    pub(super) fn make() -> Self {
        let root = tempfile::Builder::new()
            .prefix("sim")
            .tempdir()
            .expect("a folder can be made");
        let nodes = root.path().join("nodes");
        fs::create_dir(&nodes).expect("a folder can be made");
        for (name, text) in node_files() {
            fs::write(nodes.join(name), text).expect("a node file can be written");
        }
        Self { root }
    }

    fn nodes(&self) -> PathBuf {
        self.root.path().join("nodes")
    }

    pub(super) fn of_daemon(&self, daemon: usize) -> PathBuf {
        self.root.path().join(format!("daemon-{daemon}"))
    }

    /// Copies the data of a daemon, as `cp -r` does.
    pub(super) fn copy(&self, from: usize, to: usize) {
        let status = std::process::Command::new("cp")
            .arg("-r")
            .arg(self.of_daemon(from))
            .arg(self.of_daemon(to))
            .status()
            .expect("cp is installed");
        assert!(status.success(), "the folder was not copied");
    }
}

impl SimulatedDaemon {
    pub(super) fn begin(world: &Arc<World>, folders: &Folders, start: DaemonStart) -> Self {
        world.state().alive.insert(start.daemon, start.start);
        let folder = folders.of_daemon(start.daemon);
        let config = configuration(world, &folder, &folders.nodes());
        let loaded = Loaded::from_config(&config).expect("the configuration of a simulation is right");
        let data = DataDir::open(&folder).expect("nobody else uses the folder");
        let roots = Roots::new(data.workflows(), Vec::new()).expect("the folder is there");
        world.note(format!("daemon {} starts, for the {}. time", start.daemon, start.start));
        let home = Home::without_python(&config, Arc::new(data), roots);
        let names = loaded
            .nodes
            .catalog
            .iter()
            .map(|node| node.name.clone())
            .collect::<Vec<_>>();
        let store = Store::carried(
            world.transport(start),
            store_options(&config, None),
            names,
            Arc::new(()),
        )
        .expect("the URL is one of Redis");
        let outside = Outside {
            store,
            calls: RedisCalls::default(),
            programs: Arc::new(SimulatedPrograms {
                world: Arc::clone(world),
                owner: start,
            }),
            courier: Arc::new(SimulatedCourier {
                world: Arc::clone(world),
                owner: start,
            }),
        };
        let shared = Shared::new(&config, &home, loaded.nodes, outside);
        let services = Arc::new(shared.build_services(&config));
        let executor = shared.build_executor(&config, &home, &services, None);
        let deliveries = shared.build_deliveries(&config, &home, &services);
        let background = shared.build_background(&config, &home, &services, executor, (deliveries, None));
        let (preparing, _) = watch::channel(None);
        let mut tasks = JoinSet::new();
        tasks.spawn(shared.bus.clone().listen(shared.store.clone()));
        let (stop, noted) = (shared.stop.clone(), Arc::clone(world));
        tasks.spawn(async move {
            if let Err(error) = background.run(Preparing(preparing), stop).await {
                noted.end_daemon(start, &error);
            }
        });
        Self {
            start,
            services,
            stop: shared.stop.clone(),
            tasks,
        }
    }

    /// Kills it: nothing of it reaches Redis, a program or a receiver any more.
    pub(super) fn kill(mut self, world: &World) {
        world.note(format!("daemon {} is killed", self.start.daemon));
        world.bury(self.start);
        self.tasks.abort_all();
        self.stop.cancel();
    }
}
