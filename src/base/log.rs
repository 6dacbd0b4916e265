//! What the library itself logs, on its way to the program's logger: it waits for none.
//!
//! A logger is the program's, and may wait for a disk, or for a reader of stderr that never comes. So lines go into a bounded queue, and one thread of the
//! process, started by the first line, hands them on; what does not fit is dropped and counted. No worker, no connection and no shutdown stands
//! still for a log line. Only whether it wants one it is asked where that is written, with locks held: one that panics then, or what a line quotes, spoils
//! nothing but the line. A file that logs says `use crate::base::log`, and then `log::warn!(..)` and its kin, as with the crate of that name.
//!
//! *Log injection*: what peers and handlers made may stand in a line, but not end it or dress it up: control characters, escapes and what turns the
//! direction of text are shown and not sent. Must not know what happened.

use std::fmt::{self, Write};
use std::sync::OnceLock;
use std::time::Instant;

use crate::base::lossy::{Lossy, Lost, Received};
use crate::base::panics;

pub(crate) use ::log::Level;

/// The most bytes of lines that wait for the logger.
const BYTES_MAX: usize = 1024 * 1024;

/// The most bytes of one line, without what it has as its detail.
const LINE_BYTES_MAX: usize = 8 * 1024;

/// Where a line was written.
pub(crate) struct CallSite {
    pub(crate) level: Level,
    pub(crate) target: &'static str,
    pub(crate) module: &'static str,
    pub(crate) file: &'static str,
    pub(crate) line: u32,
}

static LINES: OnceLock<Lossy<(CallSite, String)>> = OnceLock::new();

/// Whether the logger wants such lines; not if it panics.
pub(crate) fn is_wanted(level: Level, target: &str) -> bool {
    let mut about = ::log::Metadata::builder();
    let about = about.level(level).target(target).build();
    let asked = || panics::catch(|| ::log::logger().enabled(&about)).unwrap_or(false);
    level <= ::log::STATIC_MAX_LEVEL && level <= ::log::max_level() && asked()
}

/// Queues a line, and behind it a detail of our own making that may have many. Never waits.
pub(crate) fn put(site: CallSite, text: fmt::Arguments<'_>, detail: &str) {
    let text = panics::catch(|| text.to_string());
    let mut line = shown(&text.unwrap_or_else(|panic| format!("this line panicked: {panic}")));
    line.push_str(detail);
    let bytes = line.len() + size_of::<CallSite>();
    let lines = LINES.get_or_init(|| Lossy::start("mcp-log", BYTES_MAX, hand_on));
    lines.put((site, line), bytes);
}

/// Waits until the logger has everything, as far as that can be waited for.
pub(crate) fn settle(deadline: Instant) {
    if let Some(lines) = LINES.get() {
        lines.settle(deadline);
    }
}

fn hand_on(item: Received<(CallSite, String)>) {
    // A logger that panics must not end all logging.
    let _panicked = panics::catch(|| match item {
        Received::One((site, text)) => ::log::logger().log(
            &::log::Record::builder()
                .level(site.level)
                .target(site.target)
                .module_path_static(Some(site.module))
                .file_static(Some(site.file))
                .line(Some(site.line))
                .args(format_args!("{text}"))
                .build(),
        ),
        Received::Lost(Lost { items, .. }) => {
            ::log::warn!(target: "mcp_threads", "the logger was slow: {items} lines are missing here");
        }
    });
}

/// The text as it may stand in a line.
fn shown(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for char in text.chars() {
        if shown.len() >= LINE_BYTES_MAX {
            shown.push('…');
            break;
        }
        if is_unseen(char) {
            // Writing to a string cannot fail.
            let _ = write!(shown, "{}", char.escape_default());
        } else {
            shown.push(char);
        }
    }
    shown
}

/// Characters that are not seen themselves, and may change how others are: controls, direction, joining, line ends of Unicode, fillers, variants, tags.
pub(crate) fn is_unseen(char: char) -> bool {
    char.is_control()
        || matches!(
            char,
            '\u{ad}'
                | '\u{61c}'
                | '\u{115f}'..='\u{1160}'
                | '\u{180e}'
                | '\u{200b}'..='\u{200f}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}'
                | '\u{2800}'
                | '\u{3164}'
                | '\u{fe00}'..='\u{fe0f}'
                | '\u{feff}'
                | '\u{ffa0}'
                | '\u{fff9}'..='\u{fffb}'
                | '\u{e0000}'..='\u{e01ef}'
        )
}

/// Logs at a level: `at!(Warn, target: T, detail: D, "format", ..)`, target and detail as you like.
macro_rules! at {
    ($level:ident, target: $target:expr, detail: $detail:expr, $($text:tt)+) => {
        if $crate::base::log::is_wanted($crate::base::log::Level::$level, $target) {
            $crate::base::log::put(
                $crate::base::log::CallSite {
                    level: $crate::base::log::Level::$level,
                    target: $target,
                    module: module_path!(),
                    file: file!(),
                    line: line!(),
                },
                format_args!($($text)+),
                $detail,
            );
        }
    };
    ($level:ident, target: $target:expr, $($text:tt)+) => {
        $crate::base::log::at!($level, target: $target, detail: "", $($text)+)
    };
    ($level:ident, detail: $detail:expr, $($text:tt)+) => {
        $crate::base::log::at!($level, target: module_path!(), detail: $detail, $($text)+)
    };
    ($level:ident, $($text:tt)+) => {
        $crate::base::log::at!($level, target: module_path!(), detail: "", $($text)+)
    };
}

macro_rules! error { ($($line:tt)+) => { $crate::base::log::at!(Error, $($line)+) }; }
macro_rules! warning { ($($line:tt)+) => { $crate::base::log::at!(Warn, $($line)+) }; }
macro_rules! info { ($($line:tt)+) => { $crate::base::log::at!(Info, $($line)+) }; }
macro_rules! debug { ($($line:tt)+) => { $crate::base::log::at!(Debug, $($line)+) }; }

// `warn` is a name that the language has for an attribute.
pub(crate) use {at, debug, error, info, warning as warn};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_made_can_neither_end_a_line_nor_dress_it_up() {
        let rows = [
            ("plain \"text\", é 中 🙂 \\n", "plain \"text\", é 中 🙂 \\n"),
            ("a\nb\r\tc\u{1b}[2J", "a\\nb\\r\\tc\\u{1b}[2J"),
            ("evil\u{202e}gpj.exe", "evil\\u{202e}gpj.exe"),
            (
                "\u{2028}\u{85}\u{7f}\u{feff}\u{e0041}",
                "\\u{2028}\\u{85}\\u{7f}\\u{feff}\\u{e0041}",
            ),
        ];
        for (text, expected) in rows {
            assert_eq!(shown(text), expected);
        }
        let long = shown(&"x".repeat(LINE_BYTES_MAX + 1));
        assert_eq!(long.len(), LINE_BYTES_MAX + '…'.len_utf8());
    }
}
