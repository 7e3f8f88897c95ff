//! Lays out rows of text in columns: as wide as they need to be, and in a terminal no wider than it.

use std::io::{self, IsTerminal};

use super::terminal::count_columns;
use crate::view::text;

const GAP: usize = 2;
/// A column is not made narrower than this.
const LEAST_COLUMNS: u16 = 8;

/// Formats a line for each row, for standard output.
pub fn format_table<const N: usize>(rows: &[[String; N]]) -> String {
    let room = io::stdout().is_terminal().then(count_columns);
    lay_out(rows, room)
}

/// Cuts a line to the terminal, if standard output is one.
pub fn fit_line(line: &str) -> String {
    let line = text::harmless(line);
    match io::stdout().is_terminal() {
        true => text::cut(&line, count_columns()),
        false => line,
    }
}

/// Formats a line for each row; where there is not room for all, the widest columns are cut.
fn lay_out<const N: usize>(rows: &[[String; N]], room: Option<u16>) -> String {
    let rows: Vec<_> = rows
        .iter()
        .map(|row| row.each_ref().map(|cell| text::harmless(cell)))
        .collect();
    let mut columns = [0; N];
    for row in &rows {
        for (column, cell) in columns.iter_mut().zip(row) {
            *column = text::width(cell).max(*column);
        }
    }
    if let Some(room) = room {
        shrink(&mut columns, room);
    }
    let line = |row: &[String; N]| {
        let cells = row.iter().zip(columns).map(|(cell, column)| {
            let cell = text::cut(cell, column);
            let pad = column.saturating_sub(text::width(&cell));
            format!("{cell}{}", " ".repeat(usize::from(pad)))
        });
        cells.collect::<Vec<_>>().join(&" ".repeat(GAP)).trim_end().to_owned()
    };
    rows.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// Takes columns from the widest one until all fit.
fn shrink(columns: &mut [u16], room: u16) {
    let gaps = GAP * columns.len().saturating_sub(1);
    loop {
        let total: usize = columns.iter().map(|column| usize::from(*column)).sum();
        let widest = columns.iter_mut().max();
        match widest {
            Some(widest) if total + gaps > usize::from(room) && *widest > LEAST_COLUMNS => *widest -= 1,
            _ => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_in_line_and_the_widest_is_cut_to_the_terminal() {
        let rows = [
            ["a".to_owned(), "강의".to_owned(), "x".repeat(40)],
            ["long-one".to_owned(), "b".to_owned(), "y".to_owned()],
        ];
        let whole = lay_out(&rows, None);
        assert_eq!(whole.lines().nth(1).unwrap(), "long-one  b     y");
        assert!(whole.contains(&"x".repeat(40)));
        let cut = lay_out(&rows, Some(30));
        assert!(cut.lines().all(|line| text::width(line) <= 30), "{cut}");
        assert!(cut.lines().next().unwrap().ends_with('…'));
    }
}
