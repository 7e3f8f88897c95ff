//! Opens the dashboard, and panics once a file is there: what tests see of a defect in a real terminal.

use std::{env::args, path::PathBuf, time::Duration};

use anyhow::Context;
use onceover_tui::{
    driver::{DashboardOptions, run},
    model::Model,
    notify::NotifySettings,
    theme::ThemeChoice,
};
use onceover_types::Timestamp;
use onceover_wire::client::Client;

/// Panics as soon as the file is there.
async fn panic_after(file: PathBuf) {
    while !file.exists() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("a defect of the dashboard");
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let mut args = args().skip(1);
    let daemon = args.next().context("name the daemon's URL")?;
    let file = args.next().context("name the file to wait for")?;
    tokio::spawn(panic_after(file.into()));
    let options = DashboardOptions {
        redis: None,
        notify: NotifySettings::default(),
        theme: ThemeChoice::default(),
        recorder: None,
    };
    let model = Model::new(&daemon, Timestamp::now(), (80, 24));
    run(model, Client::new(&daemon), options).await
}
