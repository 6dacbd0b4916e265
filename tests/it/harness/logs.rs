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

/// The fields of the access line of this request, once it is there.
#[track_caller]
pub(crate) fn access_of(request_id: &str) -> Vec<(String, String)> {
    let mark = format!("request_id={request_id}");
    let access = || {
        let lines = lines_with(&mark).into_iter();
        let mut lines = lines.filter(|line| line.target == "mcp_threads::access");
        (lines.next(), lines.count())
    };
    until(&format!("{mark} is in the access log"), || {
        access().0.is_some()
    });
    let (Some(line), more) = access() else {
        unreachable!("it has been there a moment ago")
    };
    assert_eq!(more, 0, "one line a request: {:?}", lines_with(&mark));
    let fields = line
        .text
        .split(' ')
        .filter_map(|field| field.split_once('='));
    fields
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}
