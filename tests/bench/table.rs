//! The figures of a run, and whether they meet their goals.

use std::time::Duration;

/// Smallest, median and largest of some figures.
#[derive(Debug, Clone, Copy)]
pub struct Spread {
    pub min: f64,
    pub median: f64,
    pub max: f64,
}

pub fn spread(figures: impl IntoIterator<Item = f64>) -> Spread {
    let mut figures: Vec<f64> = figures.into_iter().collect();
    figures.sort_by(f64::total_cmp);
    Spread {
        min: figures[0],
        median: figures[figures.len() / 2],
        max: figures[figures.len() - 1],
    }
}

/// Milliseconds below which that share of the sorted times lies.
pub fn percentile(sorted: &[Duration], percent: usize) -> f64 {
    sorted[(sorted.len() * percent / 100).min(sorted.len() - 1)].as_secs_f64() * 1000.0
}

/// What a ratio has to be.
pub enum Goal {
    AtLeast(f64),
    AtMost(f64),
}

/// What was measured against a goal so far.
#[derive(Default)]
pub struct Table {
    goals: Vec<(String, String, String, bool)>,
}

impl Table {
    /// Prints a figure without a goal.
    pub fn say(&mut self, what: &str, unit: &str, Spread { min, median, max }: Spread) {
        println!("  {what:<52} {median:>10.2} {unit:<5} ({min:.2} to {max:.2})");
    }

    /// Prints a figure with a goal, which its median has to meet.
    pub fn goal(&mut self, what: &str, goal: Goal, unit: &str, figures: Spread) {
        self.say(what, unit, figures);
        let (met, goal) = match goal {
            Goal::AtLeast(limit) => (figures.median >= limit, format!(">= {limit}")),
            Goal::AtMost(limit) => (figures.median <= limit, format!("<= {limit}")),
        };
        let unit = if unit == "x" { String::new() } else { format!(" {unit}") };
        self.goals.push((
            what.to_owned(),
            format!("{goal}{unit}"),
            format!("{:.2}{unit} ({:.2} to {:.2})", figures.median, figures.min, figures.max),
            met,
        ));
    }

    /// Prints the goals. Returns whether all were met.
    pub fn print(&self) -> bool {
        println!("\n| what | goal | median (min to max) | |\n|---|---|---|---|");
        for (what, goal, figure, met) in &self.goals {
            println!(
                "| {what} | {goal} | {figure} | {} |",
                if *met { "ok" } else { "**missed**" }
            );
        }
        self.goals.iter().all(|(_, _, _, met)| *met)
    }
}
