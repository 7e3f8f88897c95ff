//! The form that registers a video: where it is, its id, its title. It finds the fields that the daemon's refusals are
//! about.

use onceover_types::FieldError;
use onceover_wire::VideoRequest;
use tui_input::Input;

/// What a line is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Entry {
    /// A path on the daemon's machine, or a URL.
    Where,
    Id,
    Title,
    /// The button.
    Send,
}

#[derive(Debug)]
pub struct Line {
    pub entry: Entry,
    /// Empty: left out.
    pub input: Input,
    pub error: Option<String>,
}

#[derive(Debug)]
pub struct Register {
    pub lines: Vec<Line>,
    pub focus: usize,
    /// The request in flight.
    pub request: Option<u64>,
    /// Why the daemon refused, where it named no field.
    pub problem: Option<String>,
}

impl Default for Register {
    fn default() -> Self {
        let line = |entry| Line {
            entry,
            input: Input::default(),
            error: None,
        };
        Self {
            lines: [Entry::Where, Entry::Id, Entry::Title, Entry::Send].map(line).into(),
            focus: 0,
            request: None,
            problem: None,
        }
    }
}

impl Register {
    pub fn focused(&self) -> &Line {
        &self.lines[self.focus]
    }

    pub fn focused_mut(&mut self) -> &mut Line {
        &mut self.lines[self.focus]
    }

    /// Moves the focus by so many lines.
    pub fn step(&mut self, by: isize) {
        self.focus = self.focus.saturating_add_signed(by).min(self.lines.len() - 1);
    }

    /// Returns what is typed there; `None` if it is left out.
    fn text(&self, entry: Entry) -> Option<String> {
        let line = self.lines.iter().find(|line| line.entry == entry)?;
        let text = line.input.value().trim();
        (!text.is_empty()).then(|| text.to_owned())
    }

    /// Shows an error at a line.
    fn show_error(&mut self, entry: Entry, why: &str) {
        if let Some(at) = self.lines.iter().position(|line| line.entry == entry) {
            // A second error of the same field would hide the first.
            self.lines[at].error.get_or_insert_with(|| why.to_owned());
        }
    }

    /// Moves the focus to the first line with an error.
    fn focus_first_error(&mut self) {
        if let Some(at) = self.lines.iter().position(|line| line.error.is_some()) {
            self.focus = at;
        }
    }

    /// Makes the request that is typed; `None` if something is missing, and the field then says so.
    pub fn make_request(&mut self) -> Option<VideoRequest> {
        self.problem = None;
        for line in &mut self.lines {
            line.error = None;
        }
        let Some(source) = self.text(Entry::Where) else {
            self.show_error(Entry::Where, "a path or a URL is needed");
            self.focus_first_error();
            return None;
        };
        let (path, url) = if source.contains("://") {
            (None, Some(source))
        } else {
            (Some(source), None)
        };
        Some(VideoRequest {
            video_id: self.text(Entry::Id),
            path,
            url,
            title: self.text(Entry::Title),
        })
    }

    /// Shows the errors of a refusal at their fields, and the rest above them.
    pub fn show_refusal(&mut self, why: &str, errors: &[FieldError]) {
        self.request = None;
        let mut others = Vec::new();
        for error in errors {
            match error.field.as_str() {
                "path" | "url" => self.show_error(Entry::Where, &error.message),
                "video_id" => self.show_error(Entry::Id, &error.message),
                "title" => self.show_error(Entry::Title, &error.message),
                field => others.push(format!("{field}: {}", error.message)),
            }
        }
        self.problem = if errors.is_empty() {
            Some(why.to_owned())
        } else {
            (!others.is_empty()).then(|| others.join("; "))
        };
        self.focus_first_error();
    }
}
