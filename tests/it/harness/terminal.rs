//! A program that a person looks at, without the person.

use std::fs::File;
use std::io::{Read, Write};
use std::process::{Child, Command};
use std::sync::{Arc, Mutex};
use std::thread;

use rustix::fs::{Mode, OFlags, open};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

use super::until_told;

/// A program at a pseudo-terminal, which is its stdin, stdout and stderr.
pub(crate) struct Terminal {
    pub(crate) child: Child,
    keys: File,
    screen: Arc<Mutex<String>>,
}

impl Terminal {
    pub(crate) fn new(mut command: Command) -> Self {
        let master =
            openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a terminal can be made");
        grantpt(&master).expect("it is ours");
        unlockpt(&master).expect("it is ours");
        let name = ptsname(&master, Vec::new()).expect("it has a name");
        let slave = open(&name, OFlags::RDWR | OFlags::NOCTTY, Mode::empty()).expect("it is there");
        let end = || slave.try_clone().expect("a descriptor can be cloned");
        command.stdin(end()).stdout(end()).stderr(slave);
        command.env("TERM", "xterm");
        let child = command.spawn().expect("the program can be started");
        // The command has the last ends of the terminal; without them it ends with its program.
        drop(command);
        let keys = File::from(master);
        let screen = Arc::new(Mutex::new(String::new()));
        let (mut from, said) = (
            keys.try_clone().expect("a file can be cloned"),
            Arc::clone(&screen),
        );
        thread::spawn(move || {
            let mut bytes = [0; 1024];
            while let Ok(count @ 1..) = from.read(&mut bytes) {
                let mut said = said.lock().expect("nothing panics in here");
                said.push_str(&String::from_utf8_lossy(&bytes[..count]));
            }
        });
        Terminal {
            child,
            keys,
            screen,
        }
    }

    pub(crate) fn screen(&self) -> String {
        self.screen.lock().expect("nothing panics in here").clone()
    }

    #[track_caller]
    pub(crate) fn until_shown(&self, text: &str) {
        until_told(
            text,
            || self.screen().contains(text),
            || format!("{:?}", self.screen()),
        );
    }

    pub(crate) fn press(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).expect("it reads");
    }

    pub(crate) fn code(&mut self) -> Option<i32> {
        self.child.wait().expect("it is ours").code()
    }
}
