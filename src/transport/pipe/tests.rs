//! What is written to a pipe stays on the account until it has left.

use std::sync::Mutex;

use super::*;
use crate::base::budget::Budget;
use crate::outbox::{EventKind, answer, outbox_on, source};

/// Notes what is on the account while it writes, and fails if it is to.
struct Noting {
    account: Arc<Budget>,
    noted: Arc<Mutex<Vec<usize>>>,
    fails: bool,
}

impl Write for Noting {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut noted = self.noted.lock().expect("nobody panics");
        noted.push(self.account.used());
        match self.fails {
            true => Err(io::ErrorKind::BrokenPipe.into()),
            false => Ok(bytes.len()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn law_13_what_is_written_together_is_charged_until_then() {
    for fails in [false, true] {
        let account = Budget::whole(usize::MAX);
        let (outbox, answers) = outbox_on(&account, 1, 1000);
        let (_canceller, call) = source();
        let slot = outbox.reserve().expect("the receiver lives");
        let charge = || account.charge(100).expect("there is room");
        outbox.send_opening("opening".into(), charge(), &call);
        outbox.send_event("event".into(), EventKind::Message, &call);
        let mut answer = answer("answer");
        answer.charge = Some(charge());
        slot.send(answer);
        outbox.close();
        let all = account.used();
        assert!(all > 200);
        let noted = Arc::default();
        let writer = Writer {
            answers,
            write: Noting {
                account: Arc::clone(&account),
                noted: Arc::clone(&noted),
                fails,
            },
            out: Vec::new(),
            sent: Vec::new(),
            charges: Vec::new(),
        };
        let unfinished = writer.run(|| {});
        assert_eq!(unfinished.answers, usize::from(fails));
        assert_eq!(*noted.lock().expect("nobody panics"), [all]);
        assert_eq!(account.used(), 0);
    }
}
