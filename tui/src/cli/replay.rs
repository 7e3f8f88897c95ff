//! `onceover replay`: plays a recorded session in the terminal, or compares its frames where there is none.

use std::{fs, path::Path};

use onceover_types::causes;
use serde::Serialize;

use super::{
    args::ReplayArgs,
    failure::{CommandResult, Failure},
    out::{print, print_json, print_warning},
    terminal::has_screen,
};
use crate::{
    driver,
    figures::count_noun,
    record::{Player, ReplayError, ReplayStep},
    view::text,
};

/// What a replay has shown.
#[derive(Debug, Default, Serialize)]
struct ReplayTally {
    frames: usize,
    /// Frames that are not, byte for byte, those that were drawn.
    different: usize,
    /// The first of them.
    first_different: Option<usize>,
    /// Why the recording ends; `None` if it breaks off.
    end: Option<String>,
}

/// Runs the command.
pub async fn run(args: ReplayArgs) -> CommandResult {
    let mut player = Player::open(&args.file)?;
    let own = env!("CARGO_PKG_VERSION");
    if player.version() != own {
        print_warning(&format!("it was recorded by {}, this is {own}", player.version()));
    }
    if args.to_frames.is_none() && !args.json && has_screen() {
        return show(&mut player, args.speed).await;
    }
    if let Some(folder) = &args.to_frames {
        fs::create_dir_all(folder).map_err(|error| Failure::unwritten_file(folder, &error))?;
    }
    let tally = compare(&mut player, args.to_frames.as_deref())?;
    if args.json {
        print_json(&tally)?;
    } else {
        print(&describe_tally(&tally))?;
    }
    Ok(tally.different == 0)
}

/// Plays it in the terminal.
async fn show(player: &mut Player, speed: f64) -> CommandResult {
    let (columns, rows) = player.size();
    let (has_columns, has_rows) = crossterm::terminal::size().unwrap_or((columns, rows));
    if has_columns < columns || has_rows < rows {
        return Err(Failure::new(format!(
            "the session has {columns}x{rows}, this terminal {has_columns}x{has_rows}; make it larger, or pass \
             --to-frames"
        )));
    }
    let played = driver::play(player, speed).await;
    let (frames, different) = played.map_err(|error| Failure::new(causes(error.as_ref())))?;
    let tally = ReplayTally {
        frames,
        different,
        ..ReplayTally::default()
    };
    print(&describe_tally(&tally))?;
    Ok(different == 0)
}

/// Plays everything at once, and writes the frames if a folder is given.
fn compare(player: &mut Player, folder: Option<&Path>) -> Result<ReplayTally, Failure> {
    let mut tally = ReplayTally::default();
    while let Some(step) = player.step()? {
        match step {
            ReplayStep::Frame(frame) => {
                tally.frames += 1;
                if !frame.is_same {
                    tally.different += 1;
                    tally.first_different.get_or_insert(frame.number);
                }
                if let (Some(folder), Some(shown)) = (folder, player.shown()) {
                    let path = folder.join(format!("{:06}.txt", frame.number));
                    let lines = text::lines_of(shown).join("\n") + "\n";
                    fs::write(&path, lines).map_err(|error| Failure::unwritten_file(&path, &error))?;
                }
            }
            ReplayStep::End(reason) => tally.end = Some(reason),
            ReplayStep::Time(_) | ReplayStep::Event => {}
        }
    }
    Ok(tally)
}

fn describe_tally(tally: &ReplayTally) -> String {
    let frames = count_noun(tally.frames, "frame");
    match (tally.different, tally.first_different) {
        (0, _) => format!("{frames}, all as recorded"),
        (different, Some(first)) => format!("{frames}, {different} not as recorded, the first is number {first}"),
        (different, None) => format!("{frames}, {different} not as recorded"),
    }
}

impl From<ReplayError> for Failure {
    fn from(error: ReplayError) -> Self {
        Self::new(error.to_string())
    }
}
