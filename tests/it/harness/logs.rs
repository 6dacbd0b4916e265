//! The one logger of the test binary: it keeps every line, and tests look for theirs by request id.

use std::sync::{Mutex, Once};

use super::until;

struct Keeper(Mutex<Vec<Kept>>);

/// One line of the log.
#[derive(Clone, Debug)]
pub(crate) struct Kept {
    pub(crate) target: String,
    pub(crate) text: String,
}

static KEEPER: Keeper = Keeper(Mutex::new(Vec::new()));

impl log::Log for Keeper {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        let kept = Kept {
            target: record.target().to_owned(),
            text: record.args().to_string(),
        };
        self.0.lock().expect("nothing panics in here").push(kept);
    }

    fn flush(&self) {}
}

/// Keeps lines from now on.
pub(crate) fn keep() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        log::set_logger(&KEEPER).expect("the test binary has no other logger");
        log::set_max_level(log::LevelFilter::Info);
    });
}

/// The lines that contain this text.
pub(crate) fn lines_with(text: &str) -> Vec<Kept> {
    let kept = KEEPER.0.lock().expect("nothing panics in here");
    kept.iter()
        .filter(|line| line.text.contains(text))
        .cloned()
        .collect()
}

/// The lines that contain this text, once there is one: what the library logs goes through a queue.
#[track_caller]
pub(crate) fn told(text: &str) -> Vec<Kept> {
    until(&format!("`{text}` is in the log"), || {
        !lines_with(text).is_empty()
    });
    lines_with(text)
}

/// The fields of the access line of this request, once it is there.
#[track_caller]
pub(crate) fn access_of(request_id: &str) -> Vec<(String, String)> {
    let mark = format!("request_id={request_id}");
    let access = || {
        let lines = lines_with(&mark).into_iter();
        let mut lines = lines.filter(|line| {
            let is_whole = line.text.split(' ').any(|field| field == mark);
            is_whole && line.target == "mcp_threads::access"
        });
        (lines.next(), lines.count())
    };
    until(&format!("{mark} is in the access log"), || {
        access().0.is_some()
    });
    let (Some(line), more) = access() else {
        unreachable!("it has been there a moment ago")
    };
    assert_eq!(more, 0, "one line a request: {:?}", lines_with(&mark));
    fields_of(&line.text)
}

/// The fields of an access line. A value in quotes may have blanks, and quotes behind a backslash.
#[track_caller]
pub(crate) fn fields_of(line: &str) -> Vec<(String, String)> {
    let mut fields = Vec::new();
    let mut rest = line;
    while let Some((name, value)) = rest.split_once('=') {
        let end = match value.strip_prefix('"') {
            None => value.find(' '),
            Some(inside) => {
                let mut escaped = false;
                let end = inside.find(|char| {
                    let ends = char == '"' && !escaped;
                    escaped = char == '\\' && !escaped;
                    ends
                });
                end.map(|end| end + 2).filter(|end| *end < value.len())
            }
        };
        let (value, behind) = value.split_at(end.unwrap_or(value.len()));
        fields.push((name.to_owned(), value.trim_matches('"').to_owned()));
        rest = behind.trim_start();
    }
    assert!(rest.is_empty(), "a line is made of fields: {line:?}");
    fields
}
