//! The configuration file of the dashboard and the command line: keys, colours, mouse, notifications, and where the
//! daemon is. What is wrong in it is reported with file and line before anything starts.

use std::{
    fmt, fs,
    path::{Path, PathBuf},
};

use etcetera::BaseStrategy;
use indexmap::IndexMap;
use onceover_types::{read_toml, text_file::is_absent};
use onceover_wire::address::base_url;
use ratatui::style::Color;
use serde::Deserialize;
use toml::Spanned;

use crate::{
    actions::{KeyChange, remap_keys},
    images::ImageMode,
    key::KeyBindings,
    notify::{NotifyBy, NotifySettings},
    theme::{Role, ThemeChoice, ThemeName},
};

/// Where the file is below the user's configuration folder.
const FILE_NAME: &str = "onceover/onceover.toml";

/// What the file says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DashboardSettings {
    /// The daemon's address.
    pub url: Option<String>,
    /// The file with the daemon's token.
    pub token_file: Option<PathBuf>,
    pub mouse: bool,
    pub images: ImageMode,
    pub theme: ThemeChoice,
    pub bindings: KeyBindings,
    pub notify: NotifySettings,
}

impl Default for DashboardSettings {
    fn default() -> Self {
        Self {
            url: None,
            token_file: None,
            mouse: true,
            images: ImageMode::default(),
            theme: ThemeChoice::default(),
            bindings: KeyBindings::default(),
            notify: NotifySettings::default(),
        }
    }
}

/// What is wrong with the file, a line each.
#[derive(Debug)]
pub struct SettingsError(Vec<String>);

impl fmt::Display for SettingsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("\n"))
    }
}

impl std::error::Error for SettingsError {}

impl DashboardSettings {
    /// Reads the named file, or the user's. Only the user's may be absent.
    pub fn load(named: Option<&Path>) -> Result<Self, SettingsError> {
        let Some(path) = named.map(Path::to_owned).or_else(find_file) else {
            return Ok(Self::default());
        };
        match fs::read_to_string(&path) {
            Ok(text) => Self::read(&text, &path),
            Err(error) if is_absent(&error) && named.is_none() => Ok(Self::default()),
            Err(error) => Err(SettingsError(vec![format!("cannot read {}: {error}", path.display())])),
        }
    }

    /// Reads the text of a file.
    fn read(text: &str, path: &Path) -> Result<Self, SettingsError> {
        let at = |offset: usize, why: &str| {
            let line = text.get(..offset).map_or(1, |before| before.matches('\n').count() + 1);
            format!("{}:{line}: {why}", path.display())
        };
        let file: SettingsFile = read_toml(text).map_err(|error| {
            let offset = error.span().map_or(0, |span| span.start);
            SettingsError(vec![at(offset, error.message())])
        })?;
        let mut wrong: Vec<(usize, String)> = Vec::new();
        let url = file.url.and_then(|url| match base_url(url.get_ref()) {
            Ok(base) => Some(base),
            Err(error) => {
                wrong.push((url.span().start, format!("url: {error}")));
                None
            }
        });
        let theme = file.theme.read(&mut wrong);
        let notify = read_notify(file.notify, &mut wrong);
        let bindings = read_bindings(&file.keys, &mut wrong);
        if wrong.is_empty() {
            let folder = path.parent().unwrap_or(Path::new(""));
            return Ok(Self {
                url,
                token_file: file.token_file.map(|file| resolve_path(&file, folder)),
                mouse: file.mouse.unwrap_or(true),
                images: file.images,
                theme,
                bindings,
                notify,
            });
        }
        wrong.sort();
        Err(SettingsError(
            wrong.iter().map(|(offset, why)| at(*offset, why)).collect(),
        ))
    }
}

/// Finds the user's file, which need not be there.
fn find_file() -> Option<PathBuf> {
    let strategy = etcetera::choose_base_strategy().ok()?;
    Some(strategy.config_dir().join(FILE_NAME))
}

/// Returns what a path of the file stands for: `~/` is the user's home, and others begin where the file is.
fn resolve_path(path: &Path, folder: &Path) -> PathBuf {
    match (path.strip_prefix("~"), etcetera::home_dir()) {
        (Ok(rest), Ok(home)) => home.join(rest),
        _ => folder.join(path),
    }
}

/// The file as it is written.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct SettingsFile {
    url: Option<Spanned<String>>,
    token_file: Option<PathBuf>,
    mouse: Option<bool>,
    images: ImageMode,
    theme: ThemeTable,
    notify: Option<Spanned<NotifyTable>>,
    keys: IndexMap<String, Spanned<KeyWords>>,
}

/// The keys of an action: one, several, or `none`.
#[derive(Debug, Clone, Deserialize)]
#[serde(
    untagged,
    expecting = "a key such as \"x\", a list of keys such as [\"x\", \"ctrl-x\"], or \"none\""
)]
enum KeyWords {
    One(String),
    Several(Vec<String>),
}

impl KeyWords {
    fn list(&self) -> Vec<String> {
        match self {
            Self::One(key) => vec![key.clone()],
            Self::Several(keys) => keys.clone(),
        }
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct ThemeTable {
    name: ThemeName,
    faint: Option<Spanned<String>>,
    accent: Option<Spanned<String>>,
    good: Option<Spanned<String>>,
    bad: Option<Spanned<String>>,
    warn: Option<Spanned<String>>,
    reuse: Option<Spanned<String>>,
    alarm_text: Option<Spanned<String>>,
    alarm: Option<Spanned<String>>,
}

impl ThemeTable {
    fn read(self, wrong: &mut Vec<(usize, String)>) -> ThemeChoice {
        let given = [
            (Role::Faint, self.faint),
            (Role::Accent, self.accent),
            (Role::Good, self.good),
            (Role::Bad, self.bad),
            (Role::Warn, self.warn),
            (Role::Reuse, self.reuse),
            (Role::AlarmText, self.alarm_text),
            (Role::Alarm, self.alarm),
        ];
        let mut colours = Vec::new();
        for (role, given) in given {
            let Some(given) = given else { continue };
            match given.get_ref().parse::<Color>() {
                Ok(colour) => colours.push((role, colour)),
                Err(_) => {
                    let why = format!(
                        "'{}' is not a colour; write #rrggbb, a number up to 255, or a name such as light-blue",
                        given.get_ref()
                    );
                    wrong.push((given.span().start, why));
                }
            }
        }
        ThemeChoice {
            name: self.name,
            colours,
        }
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct NotifyTable {
    by: NotifyBy,
    command: Vec<String>,
    failures: bool,
}

/// Reads how to notify; a command has to be there where it is chosen, and only there.
fn read_notify(table: Option<Spanned<NotifyTable>>, wrong: &mut Vec<(usize, String)>) -> NotifySettings {
    let Some(table) = table else {
        return NotifySettings::default();
    };
    let start = table.span().start;
    let table = table.into_inner();
    match (table.by == NotifyBy::Command, table.command.is_empty()) {
        (true, true) => wrong.push((
            start,
            "notify.command: by = \"command\" needs the program, such as [\"notify-send\"]".to_owned(),
        )),
        (false, false) => wrong.push((start, "notify.command is used with by = \"command\" alone".to_owned())),
        _ => {}
    }
    NotifySettings {
        by: table.by,
        command: table.command,
        failures: table.failures,
    }
}

fn read_bindings(keys: &IndexMap<String, Spanned<KeyWords>>, wrong: &mut Vec<(usize, String)>) -> KeyBindings {
    let changes = keys.iter().map(|(action, words)| KeyChange {
        action: action.clone(),
        keys: words.get_ref().list(),
    });
    let changes: Vec<_> = changes.collect();
    match remap_keys(&changes) {
        Ok(bindings) => bindings,
        Err(found) => {
            for found in found {
                let offset = keys.get_index(found.at).map_or(0, |(_, words)| words.span().start);
                wrong.push((offset, format!("keys: {}", found.why)));
            }
            KeyBindings::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<DashboardSettings, String> {
        DashboardSettings::read(text, Path::new("/etc/o.toml")).map_err(|error| error.to_string())
    }

    #[test]
    fn tui17_the_whole_file_is_read() {
        let settings = read(
            "url = 'gpu-box:8788'\ntoken_file = 'token'\nmouse = false\nimages = 'off'\n\
             [theme]\nname = 'high-contrast'\naccent = '#5fafff'\n\
             [notify]\nby = 'command'\ncommand = ['notify-send', '-u', 'low']\nfailures = true\n\
             [keys]\ncancel = ['f6', 'ctrl-x']\ndelete = 'none'\n",
        )
        .unwrap();
        assert_eq!(settings.url.as_deref(), Some("http://gpu-box:8788"));
        assert_eq!(settings.token_file.as_deref(), Some(Path::new("/etc/token")));
        assert!(!settings.mouse && settings.images == ImageMode::Off);
        assert_eq!(settings.theme.name, ThemeName::HighContrast);
        assert_eq!(settings.theme.colours, [(Role::Accent, Color::Rgb(0x5f, 0xaf, 0xff))]);
        assert_eq!(settings.notify.command.len(), 3);
        assert!(settings.bindings.is_changed("cancel") && settings.bindings.is_changed("delete"));
        assert_eq!(read("").unwrap(), DashboardSettings::default());
    }

    #[test]
    fn tui17_what_is_wrong_is_reported_with_file_and_line() {
        for (text, report) in [
            ("mouse = true\nmouze = true", "/etc/o.toml:2: unknown field `mouze`"),
            (
                "\n[keys]\ncancelx = 'x'",
                "/etc/o.toml:3: keys: there is no action 'cancelx'",
            ),
            (
                "[keys]\ncancel = 'X'\ndelete = 'X'",
                "/etc/o.toml:3: keys: 'X' would be both",
            ),
            ("[keys]\ncancel = 7", "/etc/o.toml:2: "),
            (
                "[theme]\naccent = 'purplish'",
                "/etc/o.toml:2: 'purplish' is not a colour",
            ),
            ("[theme]\nname = 'pink'", "/etc/o.toml:2: "),
            ("[notify]\nby = 'command'", "/etc/o.toml:"),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.starts_with(report), "{error}");
        }
        // All of it at once, in the order of the file.
        let error = read("[keys]\nnope = 'x'\n[theme]\ngood = 'nope'").unwrap_err();
        let lines: Vec<_> = error.lines().collect();
        assert!(
            lines[0].starts_with("/etc/o.toml:2") && lines[1].starts_with("/etc/o.toml:4"),
            "{error}"
        );
    }

    #[test]
    fn only_the_users_own_file_may_be_absent() {
        let folder = tempfile::tempdir().unwrap();
        let error = DashboardSettings::load(Some(&folder.path().join("none.toml"))).unwrap_err();
        assert!(error.to_string().contains("none.toml"), "{error}");
    }
}
